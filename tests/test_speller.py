"""Adding a token never makes a picture worse, whatever the nets are; and what is sent is all that a reader needs."""

import pytest
import torch
from torch import nn

from selfsight.encoders import Small
from selfsight.maths.gain import CODES, line_search
from selfsight.seeds import generator
from selfsight.speller import advanced
from selfsight.spellers import Bands, Recurrent

SPELLERS = {
    "bands": Bands(tokens=5, floats=20, width=8),
    "bands, more than there are": Bands(tokens=4, floats=1000, width=8),
    "recurrent": Recurrent(latent=4),
    "not normalised": Recurrent(latent=4, normalise=False, memory="none"),
    "latent memory": Recurrent(latent=4, memory="latent", input="masked residual", told_count=True),
    "masked image": Recurrent(latent=4, input="masked image", variational=True),
    "image + mask": Recurrent(latent=4, input="image + mask"),
}
each = pytest.mark.parametrize("name", SPELLERS)


def built(name, seed=0, loud=1.0, channels=3, size=32):
    """A speller and an encoder of random weights; `loud` times larger than they begin."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Small(width=8).build(channels, size, seed)
        spelling = SPELLERS[name].build(encoder)
    with torch.no_grad():
        for parameter in spelling.parameters():
            parameter.mul_(loud)
    return spelling.eval(), encoder.eval()


@pytest.fixture(scope="module")
def images(photographs):
    noise = torch.rand(4, 3, 32, 32, generator=generator("noise"))
    flat = torch.full((3, 3, 32, 32), 0.5) * torch.tensor([0.0, 1.0, 2.0])[:, None, None, None]
    return torch.cat([torch.from_numpy(photographs[:12]).permute(0, 3, 1, 2) / 255, noise, flat])


@each
@pytest.mark.parametrize(("step", "loud"), [(None, 1.0), (0.1, 1.0), (None, 8.0), (0.1, 8.0)])
def test_no_token_makes_any_picture_worse(name, step, loud, images):
    for seed in range(2):
        spelling, encoder = built(name, seed, loud)
        errors = spelling.spell(images, encoder, step=step).errors(images)
        assert errors.shape == (len(images), spelling.tokens + 1)
        assert (errors.diff(dim=1) <= 0).all()
        if loud == 1:
            assert (errors[:12, -1] < errors[:12, 0]).any(), "and some become better"


@each
@pytest.mark.parametrize("step", [None, 0.1])
def test_what_is_sent_is_all_a_reader_needs(name, step, images):
    spelling, encoder = built(name)
    spelling.calibrate(images, encoder)
    spelt = spelling.spell(images, encoder, step=step)
    read = spelling.compose(spelt.numbers, spelt.beside, spelt.gains)
    assert torch.allclose(read, spelt.pictures, atol=1e-5)
    assert spelt.numbers.shape[2] + spelt.beside.shape[2] + 1 == spelling.floats
    longer = spelling.spell(images, encoder, count=2, step=step)
    if not getattr(SPELLERS[name], "told_count", False):
        assert torch.allclose(longer.pictures, spelt.pictures[:, :3], atol=1e-5), "any beginning is a spelling"


@each
def test_rounded_numbers_fit_their_widths_and_gains_their_codes(name, images):
    spelling, encoder = built(name)
    spelling.calibrate(images, encoder)
    step, spelt = 0.1, spelling.spell(images, encoder, step=0.1)
    assert set(spelt.gains.unique().tolist()) <= set(CODES)
    for t in range(spelling.tokens):
        different = sum(len(column.unique()) > 1 for column in spelt.numbers[:, t].T)
        widest = sum(torch.tensor([len(column.unique()) for column in spelt.numbers[:, t].T]).double().log2().ceil())
        assert different <= spelling.numbers
        assert widest + spelling.overhead <= spelling.fixed_bits(step)[t]
    assert (spelling.estimated_bits(spelt) >= spelling.overhead).all()
    assert sum(spelling.fixed_bits(0.02)) > sum(spelling.fixed_bits(0.1)) > sum(spelling.fixed_bits(0.5))


def test_a_change_that_is_no_number_is_not_taken():
    left = torch.rand(3, 1, 4, 4)
    change = torch.stack([left[0] * 2, torch.full((1, 4, 4), float("nan")), torch.full((1, 4, 4), float("inf"))])
    gain = line_search(left, change)
    assert gain.tolist() == pytest.approx([0.5, 0, 0])
    assert torch.equal(advanced(left, change, gain)[1:], left[1:])


def test_the_gain_is_the_best_there_is():
    left, change = torch.randn(2, 20, 3, 4, 4, generator=generator("gain")).unbind()
    gain = line_search(left, change)

    def far(a):
        return (left - a[:, None, None, None] * change).square().flatten(1).sum(1)

    assert (far(gain) <= far(gain + 0.01)).all() and (far(gain) <= far(gain - 0.01)).all()
    coded = line_search(left, change, CODES)
    assert all((far(coded) <= far(torch.full_like(gain, code)) + 1e-6).all() for code in CODES)
    with pytest.raises(ValueError, match="hold 0"):
        line_search(left, change, (0.5, 1.0))


def test_bands_at_their_fullest_give_the_picture_back(images):
    spelling, encoder = built("bands, more than there are")
    spelt = spelling.spell(images, encoder)
    assert spelt.errors(images)[:, -1].max() < 1e-8


@each
def test_pictures_of_another_form_are_refused(name, images):
    spelling, encoder = built(name)
    with pytest.raises(ValueError, match="built for"):
        spelling.spell(images[:, :1], encoder)
    with pytest.raises(ValueError, match="tokens, not 9"):
        spelling.spell(images, encoder, count=9)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [28, 33])
@pytest.mark.parametrize("name", ["bands", "recurrent"])
def test_other_sides_and_gray(name, size, channels):
    spelling, encoder = built(name, channels=channels, size=size)
    images = torch.rand(4, channels, size, size, generator=generator("sides"))
    assert (spelling.spell(images, encoder).errors(images).diff(dim=1) <= 0).all()


@pytest.mark.parametrize("wrong", [{"floats": 2}, {"tokens": 0}, {"told": 0}, {"settling": -1}])
def test_impossible_bands_are_refused(wrong):
    with pytest.raises(ValueError, match="token has told"):
        Bands(**wrong)
    with pytest.raises(ValueError, match="at least 1"):
        Recurrent(latent=0)


def test_the_basis_is_counted_from_images(photographs):
    """After settling, the first numbers hold more of new pictures than cosines did, which shuffled columns do not suit."""
    pixels = torch.from_numpy(photographs).permute(0, 3, 1, 2) / 255
    pixels = pixels[..., torch.randperm(32, generator=generator("columns"))]
    encoder = Small(width=8).build(3, 32)
    spelling = Bands(settling=2).build(encoder)
    left = [float(spelling.clues(pixels[160:], encoder).exp().mean(0)[0])]
    for step in range(8):
        spelling.count(pixels[:160][step % 2 :: 2], step, 2)
        left.append(float(spelling.clues(pixels[160:], encoder).exp().mean(0)[0]))
    assert left[-1] < 0.8 * left[0]
    assert left[4:] == left[4:5] * 5, "and nothing moves once it has settled"
    for basis in spelling.bases:
        assert torch.allclose(basis.T @ basis, torch.eye(len(basis)), atol=1e-5)
    assert isinstance(spelling, nn.Module)


def test_gradients_go_through_what_is_left_where_asked(images):
    """Pictures are the same; the second change then also depends on how the first was made."""
    told = []
    for through in (True, False):
        torch.manual_seed(0)
        encoder = Small(width=8).build(3, 32, 0).eval()
        spelling = Recurrent(latent=4, memory="none", through=through).build(encoder).eval()
        done = spelling.practise(images[:4], encoder, torch.full((4,), 2), 0)
        gradient = torch.autograd.grad(done.changes[:, 1].square().sum(), spelling.exit.weight)[0]
        told.append((done.pictures.detach(), gradient))
    assert torch.equal(told[0][0], told[1][0])
    assert not torch.allclose(told[0][1], told[1][1], rtol=1e-3)
