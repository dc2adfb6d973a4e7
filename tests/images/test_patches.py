"""What is taken is what was there, and what is pasted lies where it should and nowhere else."""

import torch

from selfsight.images.patches import feathered, pasted, taken
from selfsight.seeds import generator

CORNER = torch.tensor([[0, 3, 11], [11, 5, 0]])
TOP, LEFT = CORNER


def pictures():
    return torch.rand(3, 2, 16, 16, generator=generator("patches"))


def test_a_patch_is_the_piece_of_its_own_image():
    images = pictures()
    patches = taken(images, CORNER, 5)
    for i in range(3):
        assert torch.equal(patches[i], images[i, :, TOP[i] : TOP[i] + 5, LEFT[i] : LEFT[i] + 5])


def test_pasting_changes_the_covered_pixels_alone_and_leaves_the_image_given():
    images = pictures()
    before, patches = images.clone(), torch.full((3, 2, 5, 5), 2.0)
    result = pasted(images, patches, CORNER, torch.ones(5, 5))
    assert torch.equal(images, before)
    assert torch.equal(taken(result, CORNER, 5), patches)
    assert int((result != images).sum()) == 3 * 2 * 25


def test_a_patch_that_equals_what_it_covers_leaves_no_seam():
    images = pictures()
    assert torch.allclose(pasted(images, taken(images, CORNER, 5), CORNER, feathered(5, 2)), images)


def test_the_cover_rises_from_the_border_and_is_alike_on_all_sides():
    cover = feathered(9, 2)
    assert torch.allclose(cover[4, :4], torch.tensor([1 / 3, 2 / 3, 1.0, 1.0]))
    assert torch.equal(cover, cover.flip(0))
    assert torch.equal(cover, cover.T)
    assert (cover[3:6, 3:6] == 1).all()
