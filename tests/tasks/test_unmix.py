"""What is in a mixture, and how much of it."""

import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.images.mixing import overlaid, side_by_side
from selfsight.images.views import Views
from selfsight.seeds import generator
from selfsight.tasks import Unmix

PLAIN = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


def flat_colours(n=12, size=8):
    """Images of one gray each, all different."""
    tones = torch.linspace(10, 240, n).round().byte()
    return Batch(tones[:, None, None, None].expand(n, 3, size, size).contiguous(), torch.arange(n))


def ask(task, batch=None, seed=0):
    return task.prepare(batch or flat_colours(), Now(0, 10, generator("unmix", seed)))


@pytest.mark.parametrize("sources", [2, 3])
def test_the_shares_make_the_mixture(sources):
    example = ask(Unmix(sources=sources, candidates=4, views=PLAIN, same_view=True, least=0.1))
    tones = example.inputs.mean((2, 3, 4))
    assert torch.allclose((example.answer * tones[:, 1:]).sum(1), tones[:, 0], atol=1e-3)
    assert torch.allclose(example.answer.sum(1), torch.ones(12))
    assert ((example.answer > 0).sum(1) == sources).all()
    assert example.answer[example.answer > 0].min() >= 0.1 - 1e-6


def test_which_says_who_has_a_share():
    shares, which = (ask(Unmix(answer=answer, views=PLAIN)) for answer in ("shares", "which"))
    assert torch.equal(which.answer, (shares.answer > 0).float())
    assert torch.equal(which.inputs, shares.inputs)


def test_candidates_are_different_images():
    example = ask(Unmix(candidates=5, views=PLAIN))
    tones = example.inputs[:, 1:].mean((2, 3, 4))
    assert (tones.unsqueeze(1) - tones.unsqueeze(2)).abs().add(torch.eye(5)).min() > 0.01


def test_regions_fill_their_shares():
    sources = torch.stack([torch.zeros(1, 32, 32), torch.ones(1, 32, 32)]).expand(6, 2, 1, 32, 32)
    shares = torch.tensor([[0.1, 0.9], [0.5, 0.5], [0.25, 0.75], [0.9, 0.1], [0.0, 1.0], [1.0, 0.0]])
    mixed = side_by_side(sources, shares, generator("bands"))
    assert set(mixed.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(mixed.mean((1, 2, 3)), shares[:, 1], atol=2e-3)
    assert torch.allclose(overlaid(sources, shares).mean((1, 2, 3)), shares[:, 1])


def test_one_more_concentration_makes_shares_more_equal():
    spread = [float(ask(Unmix(concentration=c, views=PLAIN)).answer.std()) for c in (0.2, 50.0)]
    assert spread[0] > spread[1]


def test_bad_fields_are_told():
    with pytest.raises(ValueError, match="sources is 2 to 3"):
        Unmix(sources=4)
    with pytest.raises(ValueError, match="must be absent"):
        Unmix(sources=3, answer="which")
    with pytest.raises(ValueError, match=r"least is a share in \[0, 1/2\)"):
        Unmix(least=0.6)
    with pytest.raises(ValueError, match="batch of as many, not 2"):
        ask(Unmix(), flat_colours(2))
