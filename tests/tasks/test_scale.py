"""Which picture is darker, and by how much."""

import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.images.views import Views
from selfsight.seeds import generator
from selfsight.tasks import Scale

PLAIN = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


def ask(task, n=15):
    images = torch.full((n, 1, 8, 8), 200, dtype=torch.uint8)
    return task.prepare(Batch(images, torch.arange(n)), Now(0, 10, generator("scale")))


def test_the_darkened_one_is_named():
    example = ask(Scale(views=PLAIN, candidates=5))
    tones = example.inputs.mean((2, 3, 4))
    assert torch.equal(tones[:, 1:].argmin(1), example.answer)
    assert (tones[:, 1:].min(1).values / tones[:, 0] <= 0.9 + 1e-5).all()
    assert ((tones[:, 1:] / tones[:, :1] > 0.999).sum(1) == 4).all()
    assert torch.bincount(example.answer, minlength=5).tolist() == [3] * 5


def test_factors_are_told_and_even():
    example = ask(Scale(views=PLAIN, answer="factors", least=0.2), n=100)
    tones = example.inputs.mean((2, 3, 4))
    assert torch.allclose(tones[:, 1:] / tones[:, :1], example.answer, atol=1e-4)
    assert example.answer.mean().item() == pytest.approx(0.6, abs=0.01)
    assert example.answer.var().item() == pytest.approx(0.8**2 / 12, rel=0.05)


def test_bad_fields_are_told():
    with pytest.raises(ValueError, match="2 or more, not 1"):
        Scale(candidates=1)
    with pytest.raises(ValueError, match=r"factor in \[0, 0.9\), not 0.95"):
        Scale(least=0.95)
