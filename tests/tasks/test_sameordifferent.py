"""Same is same, different is different, and nothing but the pictures tells which."""

import math

import pytest
import torch

from selfsight.batch import Batch, Example, Now
from selfsight.comparison import Comparison
from selfsight.encoders import Small
from selfsight.images.views import Views
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.tasks import SameOrDifferent
from selfsight.tasks.sameordifferent import partners

STILL = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


@pytest.fixture
def flats() -> Batch:
    return grays(20)


def grays(n: int) -> Batch:
    """Images of one gray each, all different."""
    shades = (torch.arange(n) * (240 // (n - 1))).byte()
    return Batch(shades[:, None, None, None].expand(n, 3, 24, 24).clone(), torch.arange(n))


def asked(task, batch, word="pairs"):
    return task.prepare(batch, Now(0, 1, generator(word)))


@pytest.mark.parametrize(("form", "n"), [("views", 20), ("blur_jpeg", 4)])  # JPEG moves a flat gray by up to 13 levels
def test_the_answer_is_in_the_pictures(form, n):
    batch, near = grays(n), 120 / n
    example = asked(SameOrDifferent(views=STILL, form=form), batch)
    gray = example.inputs.mean((2, 3, 4)) * 255
    assert ((gray[:, 0] - gray[:, 1]).abs() < near).tolist() == example.answer.bool().tolist()
    assert example.answer.sum() == n / 2
    assert ((gray[:, 0] - batch.images[:, 0, 0, 0]).abs() < near).all()


def test_every_image_gives_two_pictures_whether_they_meet_or_not(flats):
    gray = asked(SameOrDifferent(views=STILL), flats).inputs.mean((2, 3, 4)) * 255
    assert torch.equal(gray[:, 1].round().sort().values, flats.images[:, 0, 0, 0].float())


def test_nobody_is_their_own_other_and_odd_batches_are_even_on_average():
    counts = []
    for i in range(200):
        partner = partners(7, generator("ring", i))
        assert partner.sort().values.tolist() == list(range(7))
        counts.append(int((partner == torch.arange(7)).sum()))
    assert set(counts) == {3, 4}
    assert sum(counts) / 200 == pytest.approx(3.5, abs=0.15)
    assert partners(2, generator("two")).tolist() == [1, 0]
    with pytest.raises(ValueError, match="larger --batch"):
        partners(1, generator("one"))


def test_blur_jpeg_takes_away_what_is_small(photographs):
    batch = Batch(torch.from_numpy(photographs[:20]).permute(0, 3, 1, 2), torch.arange(20))
    clear, spoilt = (
        asked(SameOrDifferent(views=STILL, form=form), batch).inputs[:, 0] for form in ("views", "blur_jpeg")
    )
    assert (spoilt - clear).abs().mean() > 0.02
    coarse = [torch.nn.functional.avg_pool2d(pictures, 8) for pictures in (clear, spoilt)]
    assert (coarse[0] - coarse[1]).abs().mean() < 0.03


@pytest.mark.parametrize("by", ["difference", "cosine", "product"])
def test_it_does_not_matter_which_comes_first(photographs, by):
    task = SameOrDifferent(comparison=Comparison(by=by))
    encoder = Small(width=8).build(3, 32)
    model = Model(encoder, task.parts(encoder)).eval()
    batch = Batch(torch.from_numpy(photographs[:16]).permute(0, 3, 1, 2), torch.arange(16))
    example = asked(task, batch)
    turned = Example(inputs=example.inputs.flip(1), index=example.index, answer=example.answer)
    first, second = (task.predict(model, one)["logits"] for one in (example, turned))
    assert torch.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("objective", ["triplet", "n_pair", "nt_xent"])
def test_other_objectives(photographs, objective):
    """All pairs are of one image; the loss of equal vectors is the constant's, that of found partners lies below."""
    task = SameOrDifferent(objective=objective)
    batch = Batch(torch.from_numpy(photographs[:16]).permute(0, 3, 1, 2), torch.arange(16))
    example = asked(task, batch)
    assert example.answer.all()
    encoder = Small(width=8).build(3, 32)
    model = Model(encoder, task.parts(encoder))
    outcome = task.loss(task.predict(model, example), example)
    outcome.loss.backward()
    assert next(model.encoder.parameters()).grad.abs().sum() > 0
    same = torch.full((16, 8), 1e-4)
    constant = task.loss({"first": same, "second": same}, example)
    assert float(constant.loss) == pytest.approx(task.constant(16).loss, abs=1e-4)
    apart = 5 * torch.eye(16)
    found = task.loss({"first": apart, "second": apart}, example)
    assert found.loss < constant.loss / 2
    assert found.measures["right"] == 1
    assert task.constant(16).right < 0.51


def test_binary_is_cross_entropy():
    logits, answer = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 0.0, 0.0])
    example = Example(inputs=torch.zeros(3, 2, 1, 4, 4), index=torch.arange(3), answer=answer)
    outcome = SameOrDifferent().loss({"logits": logits}, example)
    slow = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1)) + math.log(1 + math.exp(0.5))) / 3
    assert float(outcome.loss) == pytest.approx(slow)
    assert float(outcome.measures["right"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("wrong", [{"margin": 0.0}, {"temperature": 0.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SameOrDifferent(**wrong)
