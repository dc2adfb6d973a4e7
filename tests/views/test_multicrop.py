"""Small pictures are views of windows, laid four to one, and embedded each by itself."""

from __future__ import annotations

import pytest
import torch

from selfsight.batch import Batch
from selfsight.doctor.recipes import program_of_recipe
from selfsight.encoders import Small, Timm
from selfsight.errors import UserError
from selfsight.images.views import Views
from selfsight.recipe import Recipe
from selfsight.seeds import generator
from selfsight.tasks import Rotation, VICReg
from selfsight.together import Together
from selfsight.views import MultiCropViews
from selfsight.views.multicrop import cut_windows, laid, taken_apart

SAME = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


def batch_of(photographs, n=6):
    return Batch(torch.from_numpy(photographs[:n]).permute(0, 3, 1, 2), torch.arange(n))


def test_windows_are_cut_from_their_image_and_lie_anywhere():
    """Each pixel of these images is its own place."""
    place = torch.arange(64).view(1, 1, 8, 8).expand(2, 3, 8, 8) + 100 * torch.arange(2).view(2, 1, 1, 1)
    found = cut_windows(place, 500, generator("windows"))
    assert found.shape == (1000, 3, 4, 4)
    whose, corner = found[:, 0, 0, 0] // 100, found[:, 0, 0, 0] % 100
    assert torch.equal(whose, torch.arange(2).repeat_interleave(500))
    steps = 8 * torch.arange(4)[:, None] + torch.arange(4)
    assert torch.equal(found, (found[:, :1, :1, :1] + steps).expand_as(found))
    assert sorted(corner.unique().tolist()) == [8 * top + left for top in range(5) for left in range(5)]


def test_four_are_laid_into_one_and_taken_apart_again():
    small = torch.rand(3, 8, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    whole = laid(small)
    assert whole.shape == (3, 2, 2, 10, 10)
    assert torch.equal(whole[1, 0, :, 5:, :5], small[1, 2])
    assert torch.equal(taken_apart(whole), small)


def test_each_picture_is_embedded_by_itself(photographs):
    views, batch = MultiCropViews(large=2, small=8, views=SAME, windows=SAME), batch_of(photographs)
    example = views.example(batch, generator("x"))
    assert example.inputs.shape == (6, 4, 3, 32, 32)
    assert torch.equal(example.inputs[:, 0], batch.images / 255)
    encoder = Small(width=4).build(3, 32).eval()
    found = views.embedded(encoder, example.inputs).unflatten(0, (6, -1))
    assert found.shape[1] == views.shown() == 10
    assert torch.allclose(found[:, 0], found[:, 1])
    draws = generator("x")
    views.views(batch.images.repeat_interleave(2, 0), draws)
    right = encoder(cut_windows(batch.images, 8, draws) / 255).unflatten(0, (6, 8))
    assert torch.allclose(found[:, 2:], right, atol=1e-5)


def test_large_ones_alone_go_to_any_encoder_at_any_side(photographs):
    views, batch = MultiCropViews(large=3, small=0, views=SAME), batch_of(photographs)
    example = views.example(Batch(batch.images[..., 1:, 1:], batch.index), generator("x"))
    assert example.inputs.shape == (6, 3, 3, 31, 31)
    assert torch.equal(example.inputs[:, 2], batch.images[..., 1:, 1:] / 255)
    encoder = Small(width=4).build(3, 31).eval()
    found = views.embedded(encoder, example.inputs)
    assert torch.equal(found, encoder(example.inputs.flatten(0, 1)))
    assert len(found) == 6 * views.shown()


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"small": 6}, "multiple of 4"), ({"large": 0}, "large is at least 1"), ({"small": 0}, "together at least 2")],
)
def test_numbers_that_cannot_be_laid(settings, says):
    with pytest.raises(ValueError, match=says):
        MultiCropViews(**settings)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_odd_sides_and_encoders_of_one_side_are_refused(photographs, name):
    views = MultiCropViews()
    odd = Batch(torch.zeros(2, 3, 31, 31, dtype=torch.uint8), torch.arange(2))
    with pytest.raises(UserError, match="even side, not 31 x 31 pixels"):
        views.example(odd, generator("x"))
    encoder = Timm(name=name).build(3, 32)
    with pytest.raises(UserError, match="small pictures, of 16 pixels"):
        views.embedded(encoder, views.example(batch_of(photographs, 2), generator("x")).inputs)


def test_the_doctor_takes_two_large_ones_for_a_pair(photo_folder):
    views = MultiCropViews(large=2, small=0)
    recipe = Recipe(data=photo_folder, task=VICReg(views=views), encoder=Small(width=4), size=32)
    assert program_of_recipe(recipe).views is not None


@pytest.mark.parametrize("beside", [(), (Rotation(),)])
def test_the_doctor_takes_no_mosaic_for_a_view(photo_folder, beside):
    tasks = (VICReg(views=MultiCropViews()), *beside)
    task = Together(tasks=tasks) if beside else tasks[0]
    recipe = Recipe(data=photo_folder, task=task, encoder=Small(width=4), size=32)
    assert program_of_recipe(recipe).views is None
