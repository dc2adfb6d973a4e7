"""What is left and what is to be said make the picture again."""

import pytest
import torch
from PIL import ImageChops

from selfsight.batch import Batch, Now
from selfsight.decoder import Decoder
from selfsight.drawing import draw
from selfsight.encoders import Small
from selfsight.images.holes import fill, holes
from selfsight.images.lab import to_lab
from selfsight.images.views import Views
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.tasks import RestoreMean

STILL = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()
KINDS = ("inpaint", "colourise", "superresolve", "deblur")


@pytest.fixture
def batch(photographs) -> Batch:
    return Batch(torch.from_numpy(photographs[:16]).permute(0, 3, 1, 2), torch.arange(16))


def asked(task, batch):
    return task.prepare(batch, Now(0, 1, generator("restore")))


def test_holes_are_as_large_as_asked_and_everywhere_as_often():
    masks = holes(400, 32, 48, 4, 0.25, generator("holes"))
    assert masks.mean((1, 2, 3)).tolist() == [0.25] * 400
    assert (masks.mean(0) - 0.25).abs().max() < 0.1
    assert set(holes(9, 30, 30, 2, 0.01, generator("one")).mean((1, 2, 3)).tolist()) == {0.25}
    assert holes(9, 30, 30, 2, 0.99, generator("three")).mean((1, 2, 3)).tolist() == pytest.approx([0.75] * 9)


def test_a_hole_shows_the_mean_of_what_is_left_and_nothing_of_what_was_there():
    masks = holes(3, 16, 16, 2, 0.25, generator("fill"))
    images = torch.rand(3, 3, 16, 16)
    other = images * (1 - masks) + torch.rand(3, 3, 16, 16) * masks
    assert torch.equal(fill(images, masks), fill(other, masks))
    inside = fill(images, masks)[0][:, masks[0, 0].bool()]
    left = images[0][:, ~masks[0, 0].bool()].mean(1)
    assert torch.allclose(inside, left[:, None].expand_as(inside), atol=1e-6)


@pytest.mark.parametrize("what", KINDS)
def test_the_answer_is_what_was_taken(batch, what):
    """About the mean of the batch, in units of its deviation, and nothing where nothing was taken."""
    example = asked(RestoreMean(views=STILL, what=what), batch)
    truth, left, where = example.extras["truth"], example.inputs[:, 0], example.extras["where"]
    assert torch.allclose(truth, batch.images / 255, atol=1e-5)
    taken = {
        "inpaint": lambda: truth,
        "colourise": lambda: to_lab(truth)[:, 1:],
    }.get(what, lambda: truth - left)()
    about = where * (taken - taken.mean(0))
    scale = (about / example.answer)[example.answer.abs() > 0.1]
    assert scale.std() / scale.mean() < 1e-2
    assert (example.answer * (1 - where)).abs().max() == 0
    assert float((example.answer**2).sum() / where.expand_as(example.answer).sum()) == pytest.approx(1, rel=1e-4)
    assert (left - truth).abs().mean() > 0.002


def test_what_is_left_is_what_the_name_says(batch):
    truth = batch.images / 255
    gray = asked(RestoreMean(views=STILL, what="colourise"), batch).inputs[:, 0]
    assert (gray - gray.mean(1, keepdim=True)).abs().max() < 5e-3
    assert torch.allclose(to_lab(gray)[:, 0], to_lab(truth)[:, 0], atol=0.3)
    for what in ("superresolve", "deblur"):
        left = asked(RestoreMean(views=STILL, what=what), batch).inputs[:, 0]
        assert left.diff(dim=-1).abs().mean() < 0.8 * truth.diff(dim=-1).abs().mean()
    twice, four = (asked(RestoreMean(views=STILL, what="superresolve", factor=f), batch).inputs[:, 0] for f in (2, 4))
    assert (twice - truth).abs().mean() < 0.8 * (four - truth).abs().mean()


@pytest.mark.parametrize("what", KINDS)
def test_saying_nothing_costs_one_and_saying_all_nothing(batch, what):
    task = RestoreMean(what=what)
    example = asked(task, batch)
    nothing = task.loss({"taken": torch.zeros_like(example.answer)}, example)
    assert float(nothing.loss) == pytest.approx(task.constant(16).loss, rel=1e-4)
    all_of_it = task.loss({"taken": example.answer}, example)
    assert all_of_it.loss == 0
    assert all_of_it.measures["explained"] == 1
    mean = example.answer.mean(0, keepdim=True).expand_as(example.answer)
    if what != "inpaint":  # elsewhere a constant has nothing to gain in any batch
        assert task.loss({"taken": 0.1 + mean}, example).loss > nothing.loss


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("sees_picture", [False, True])
def test_every_kind_reaches_the_encoder(batch, what, sees_picture):
    task = RestoreMean(what=what, decoder=Decoder(width=16, sees_picture=sees_picture))
    encoder = Small(width=8).build(3, 32)
    model = Model(encoder, task.parts(encoder))
    example = asked(task, batch)
    task.loss(task.predict(model, example), example).loss.backward()
    assert next(model.encoder.parameters()).grad.abs().sum() > 0
    assert task.question().endswith("?")
    assert "truth" in task.caption(example, 0)


@pytest.mark.parametrize("what", KINDS)
def test_detail_alone_is_restored_beside_the_picture(batch, what):
    task, encoder = RestoreMean(what=what), Small(width=8).build(3, 32).eval()
    decoder = task.parts(encoder)["decoder"]
    pictures = asked(task, batch).inputs[:, 0]
    z, seen = encoder.with_map(pictures)
    beside = not torch.equal(decoder(z, seen, pictures), decoder(z, seen, pictures.flip(-1)))
    assert beside == (what in ("superresolve", "deblur"))


@pytest.mark.parametrize("wrong", [{"hidden": 1.0}, {"cells": 1}, {"sigma": 0.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RestoreMean(**wrong)


def test_gray_images_have_no_colour_to_take(batch):
    gray = Batch(batch.images[:, :1], batch.index)
    with pytest.raises(ValueError, match="take inpaint"):
        asked(RestoreMean(what="colourise"), gray)
    assert asked(RestoreMean(what="superresolve"), gray).inputs.shape == (16, 1, 1, 32, 32)


def test_the_truth_is_drawn_last(batch, photographs):
    """Image, what is left, truth: three pictures an example, the last as it was before the damage."""
    task = RestoreMean(views=STILL)
    example = asked(task, batch)
    sheet = draw(task, example, photographs[:16], columns=1)
    assert sheet.width == 3 * 144 + 4 * 10
    first, last = (sheet.crop((left, 36, left + 144, 180)) for left in (10, 10 + 2 * 154))
    assert max(high for _, high in ImageChops.difference(first, last).getextrema()) <= 1
