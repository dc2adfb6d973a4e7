"""The patch is from where the answer says, always shows, and lies at places that do not depend on the answer."""

import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.images.views import Views
from selfsight.seeds import generator
from selfsight.tasks import Elsewhere
from selfsight.tasks.elsewhere import SHOWS

PLAIN = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


def example_of(task, images, seed="elsewhere"):
    return task.prepare(Batch(images, torch.arange(len(images))), Now(0, 1, generator(seed)))


def ramps(n, side=40):
    """Red tells the image, green the row, blue the column."""
    images = torch.zeros(n, 3, side, side, dtype=torch.uint8)
    images[:, 0] = torch.arange(n, dtype=torch.uint8)[:, None, None] * (250 // n)
    images[:, 1] = (6 * torch.arange(side)).byte()[:, None]
    images[:, 2] = (6 * torch.arange(side)).byte()
    return images


def test_red_tells_whether_the_patch_is_from_another_image():
    images = ramps(10)
    example = example_of(Elsewhere(shown="pasted", views=PLAIN), images)
    changed = ((example.inputs[:, 0, 0] - images[:, 0] / 255).abs() > 1e-4).flatten(1).any(1)
    assert changed.long().tolist() == example.answer.tolist()
    assert example.answer.sum() == 5


def test_every_patch_shows_wherever_it_can():
    """Half of each image is blank: most pairs of places there would change nothing."""
    images = torch.full((40, 3, 40, 40), 255, dtype=torch.uint8)
    images[..., 24:] = torch.randint(0, 200, (40, 3, 1, 16), generator=generator("half"), dtype=torch.uint8)
    example = example_of(Elsewhere(shown="pasted", share=0.3, views=PLAIN), images)
    change = (example.inputs[:, 0] - images / 255).abs().mean((1, 2, 3)) / 0.3**2
    assert (change > SHOWS / 3).float().mean() > 0.95  # the feathered seam weakens what was measured without it


def test_places_do_not_depend_on_the_answer():
    """Holes of patches from another image lie, on the mean, where the others do: within four standard errors."""
    images, task = ramps(40), Elsewhere(shown="apart", views=PLAIN)
    many = [example_of(task, images, seed) for seed in range(60)]
    holes = torch.cat([(each.inputs[:, 0] == 0.5).all(1) for each in many])
    assert holes.flatten(1).sum(1).tolist() == [16 * 16] * len(holes)
    foreign = torch.cat([each.answer for each in many]).bool()
    for along in (1, 2):
        first = holes.any(3 - along).int().argmax(1).float()
        assert len(set(first.tolist())) == 25
        apart = (first[foreign].mean() - first[~foreign].mean()).abs()
        assert apart < 4 * first.std() / (len(first) / 4) ** 0.5


def test_apart_the_patch_is_what_fills_the_hole():
    images = ramps(10)
    hole, patch = example_of(Elsewhere(views=PLAIN), images).inputs.unbind(1)
    empty = (hole == 0.5).all(1)
    assert torch.equal(hole.movedim(1, -1)[~empty], (images / 255).movedim(1, -1)[~empty])
    assert (patch.movedim(1, -1)[~empty] == 0.5).all()
    assert (patch.movedim(1, -1)[empty] != 0.5).any(-1).float().mean() > 0.9


def test_toned_patches_have_the_light_of_what_they_cover():
    images = torch.randint(0, 256, (8, 3, 40, 40), generator=generator("noise"), dtype=torch.uint8)
    images[::2] //= 4
    for toned, alike in ((True, True), (False, False)):
        example = example_of(Elsewhere(toned=toned, shown="pasted", views=PLAIN), images)
        foreign = example.answer.bool()
        means = [(x.mean((1, 2, 3))) for x in (example.inputs[:, 0], images / 255)]
        assert bool(((means[0] - means[1]).abs()[foreign] < 0.004).all()) == alike


def test_a_patch_too_large_is_refused():
    with pytest.raises(ValueError, match=r"share=0.8: take a patch of 0.1 to 0.5"):
        Elsewhere(share=0.8)
