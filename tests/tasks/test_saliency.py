"""Saliency: the journal's losses restated, and their defect: full and empty masks are the best there are."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.encoders import Small
from selfsight.images.views import Views
from selfsight.masker import Masker
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.tasks import Saliency
from selfsight.tasks.saliency import least_wish

STILL = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


def flat(*levels):
    return torch.tensor(levels)[None, :, None, None].expand(2, -1, 8, 8)


def model_of(task):
    torch.manual_seed(0)
    encoder = Small(width=8).build(3, 32)
    return Model(encoder, task.parts(encoder))


def asked(task, now=None):
    pixels = torch.randint(0, 256, (4, 3, 32, 32), generator=generator("pictures"), dtype=torch.uint8)
    return task.prepare(Batch(pixels, torch.arange(4)), now or Now(0, 10, generator("asked")))


def test_the_wishes_are_the_journals():
    """exp(-5 mean((a - b)^2)) against nothing, the sum (tanh of three times it) and the one before; 4 m (1 - m)."""
    masks = torch.rand(2, 3, 8, 8, generator=generator("masks"))
    d = lambda a, b: math.exp(-5 * float(((a - b) ** 2).mean()))  # noqa: E731
    one, two, three = masks.unbind(1)
    none = torch.zeros_like(one)
    sums = [none, torch.tanh(3 * one), torch.tanh(3 * (one + two))]
    for name, wanted in {
        "apart": [d(m, s) for m, s in zip((one, two, three), sums, strict=True)],
        "previous": [d(one, none), d(two, one), d(three, two)],
        "filled": [d(m, none) for m in (one, two, three)],
        "binary": [float((4 * m * (1 - m)).mean()) for m in (one, two, three)],
        "smooth": [float(m.diff(dim=-1).abs().mean() + m.diff(dim=-2).abs().mean()) for m in (one, two, three)],
    }.items():
        alone = {"apart": 0.0} | {name: 2.0}
        found = float(Saliency(turns=3, **alone).wish(masks))
        assert found == pytest.approx(2 * sum(wanted) / 3, rel=1e-5), name


def test_full_and_empty_in_turn_is_a_global_optimum_of_the_loss_itself():
    """No term can be less than e^-5, and these masks, which say nothing of any picture, have it in every term."""
    task, least = Saliency(apart=0.0, previous=1.0), math.exp(-5)
    assert float(task.wish(flat(1.0, 0.0, 1.0, 0.0))) == pytest.approx(least, rel=1e-5)
    assert least_wish(task) == pytest.approx(least, rel=1e-3)
    useful = torch.zeros(2, 4, 8, 8)
    for t in range(4):
        useful[:, t, :, 2 * t : 2 * t + 2] = 1  # four masks that part the picture
    assert float(task.wish(useful)) > 10 * least


def test_against_the_sum_one_full_mask_and_then_none_is_best():
    task = Saliency()
    costs = {order: float(task.wish(flat(*order))) for order in itertools.product((0.0, 1.0), repeat=4)}
    assert min(costs, key=costs.get) == (1.0, 0.0, 0.0, 0.0)
    assert min(costs.values()) == pytest.approx(math.exp(-5), rel=0.05)
    assert task.constant(8).loss == pytest.approx(1 + min(costs.values()), abs=1e-3)


def test_what_the_journal_tried_against_it_does_not_make_one_number_everywhere_cheaper():
    """With the term against nothing beside the sum, masks that differ from place to place cost less than any flat
    ones."""
    task = Saliency(filled=1.0)
    levels = torch.linspace(0, 1, 6).tolist()
    flattest = min(float(task.wish(flat(*order))) for order in itertools.product(levels, repeat=4))
    assert least_wish(task) < 0.5 * flattest


def test_the_mean_is_over_the_batch_so_that_one_picture_can_pay_for_another():
    halves = torch.stack([torch.ones(1, 8, 8), torch.zeros(1, 8, 8)])
    all_half = torch.full((2, 1, 8, 8), 0.5**0.5)
    task = Saliency(turns=2)
    assert float(task.wish(halves.expand(-1, 2, -1, -1))) != pytest.approx(float(task.wish(flat(1.0, 1.0))))
    one, other = (float(Saliency(apart=0, filled=1.0).wish(m)) for m in (halves, all_half))
    assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("kind", ["saliency", "inherent", "constructor"])
@pytest.mark.parametrize(
    "given", [{}, {"memory": True, "inverse": True, "shown": "masked image"}, {"shown": "residual", "clamp": False}]
)
def test_every_model_says_the_picture_mask_by_mask(kind, given):
    task = Saliency(model=kind, turns=3, views=STILL, width=8, **given)
    told = task.predict(model_of(task), example := asked(task))
    assert told["logits"].shape == (4, 3, 32, 32)
    assert told["answers"].shape == (4, 3, 3, 32, 32)
    task.loss(told, example).loss.backward()


def test_the_sigmoid_grows_steep_towards_the_end():
    task = Saliency(steepness=5.0, views=STILL)
    logits = torch.ones(4, 4, 32, 32)
    first, middle = (task.masks({"logits": logits}, asked(task, Now(step, 10, generator("n")))) for step in (0, 5))
    assert float(first[0, 0, 0, 0]) == pytest.approx(1 / (1 + math.exp(-1)))
    assert float(middle[0, 0, 0, 0]) == pytest.approx(1 / (1 + math.exp(-3)))


def test_a_memory_changes_what_the_same_picture_gives_next():
    torch.manual_seed(0)
    x, remembering, forgetting = torch.rand(2, 3, 8, 8), Masker(3, 4, 1, True), Masker(3, 4, 1, False)
    first, memory = remembering(x, None)
    assert not torch.allclose(first, remembering(x, memory)[0])
    assert torch.equal(first, remembering(x, None)[0])
    assert forgetting(x, None)[1] is None


@pytest.mark.parametrize(("wrong", "said"), [({"turns": 1}, "turns is at least 2"), ({"apart": -1}, "a weight")])
def test_settings_that_cannot_be(wrong, said):
    with pytest.raises(ValueError, match=said):
        Saliency(**wrong)
