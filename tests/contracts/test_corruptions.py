"""What every corruption promises. Add one to selfsight.corruptions, and it is held to all of this.

But for Truncated, which reads a run and takes pictures of that run's size alone: tests/corruptions/test_truncated.py.
"""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image
from skimage import data

from selfsight import corruptions
from selfsight.corruption import Corruption
from selfsight.corruptions import (
    Blur,
    Chain,
    CowMask,
    CropOut,
    CutOut,
    Decolour,
    Downsample,
    Jpeg,
    Noise,
    OneOf,
    PatternedDropout,
    Truncated,
)
from selfsight.recipe import to_json
from selfsight.seeds import generator
from selfsight.short import corruptions_asked


def both(**settings) -> Chain:
    return Chain(corruptions=(Decolour(), Downsample(**settings)), chance=1.0)


def one_of(size: float = 0.4) -> OneOf:
    return OneOf(corruptions=(CutOut(count=(2, 2), size=(size, size)), CowMask(share=(size, size))))


EVERY = [final for name in corruptions.__all__ if isinstance(final := getattr(corruptions, name), type)]
FINALS = [final for final in EVERY if final is not Truncated]
USUAL = {final: {Chain: both, OneOf: one_of}.get(final, final)() for final in FINALS}
VARIED = USUAL | {Decolour: Decolour(amount=(0.2, 1.0))}
"""With something left to draw for each picture."""
RISING: dict[type[Corruption], list[Corruption]] = {
    Blur: [Blur(sigma=(s, s)) for s in (0.01, 0.03, 0.1)],
    Chain: [both(factors=(factor,)) for factor in (2, 4, 16)],
    CowMask: [CowMask(share=(s, s)) for s in (0.1, 0.4, 0.8)],
    CropOut: [CropOut(kept=(s, s)) for s in (0.9, 0.5, 0.1)],
    CutOut: [CutOut(count=(2, 2), size=(s, s)) for s in (0.1, 0.3, 0.6)],
    Decolour: [Decolour(amount=(a, a)) for a in (0.2, 0.6, 1.0)],
    Downsample: [Downsample(factors=(factor,)) for factor in (2, 4, 16)],
    Jpeg: [Jpeg(quality=(q, q)) for q in (60, 15, 2)],
    Noise: [Noise(deviation=(s, s)) for s in (0.03, 0.1, 0.3)],
    OneOf: [one_of(size) for size in (0.1, 0.4, 0.8)],
    PatternedDropout: [PatternedDropout(stride=(s, s), repeat=(9, 9)) for s in (5.0, 2.0, 1.2)],
}
"""From weak to strong."""

each = pytest.mark.parametrize("final", FINALS, ids=lambda final: final.__name__)


@pytest.fixture(scope="module")
def pictures() -> dict[int, torch.Tensor]:
    """Twelve windows of three photographs as (12, 3, S, S), for some S."""
    found = {}
    for side in (28, 64, 224):
        windows = [
            Image.fromarray(picture[top : top + 200, left : left + 200]).resize((side, side), Image.Resampling.BOX)
            for picture in (data.astronaut(), data.chelsea(), data.coffee())
            for top, left in ((0, 60), (90, 10), (60, 200), (40, 130))
        ]
        found[side] = torch.stack([torch.frombuffer(bytearray(w.tobytes()), dtype=torch.uint8) for w in windows])
        found[side] = found[side].view(12, side, side, 3).permute(0, 3, 1, 2).float() / 255
    return found


def of(corruption, images, seed="corruption"):
    return corruption(images, generator(seed))


@each
@pytest.mark.parametrize("side", [28, 64, 224])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_comes_out_has_the_form_of_what_went_in(final, side, channels, pictures):
    images = pictures[side][:, :channels]
    before, globally = images.clone(), torch.random.get_rng_state()
    done = of(USUAL[final], images)
    assert done.images.shape == images.shape
    assert done.where.shape == (12, 1, side, side)
    assert done.removed.shape == (12,)
    assert done.images.dtype == done.where.dtype == done.removed.dtype == images.dtype
    assert done.images.min() >= 0 and done.images.max() <= 1
    assert set(done.where.unique().tolist()) <= {0.0, 1.0}
    assert done.removed.min() >= 0 and done.removed.max() <= 1
    if not (final is Decolour and channels == 1):  # of gray pictures no colour can be taken
        assert done.removed.mean() > 0.01
        assert not torch.equal(done.images, images)
    assert torch.equal(images, before), "pictures are not written into"
    assert torch.equal(torch.random.get_rng_state(), globally), "draws come from the generator that is passed in"


@each
def test_tall_and_single_pictures(final, pictures):
    tall = pictures[64][:1, :, :, :40]
    done = of(USUAL[final], tall)
    assert done.images.shape == tall.shape
    assert 0 <= done.removed <= 1


@each
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_every_precision_gives_the_same_up_to_its_rounding(final, dtype, pictures):
    images = pictures[28].to(dtype)
    done, usual = of(USUAL[final], images), of(USUAL[final], images.float())
    assert done.images.dtype == done.where.dtype == done.removed.dtype == dtype
    assert torch.equal(done.where.float(), usual.where)
    near = (done.images.float() - usual.images).abs() < 1e-2
    assert near.float().mean() > 0.97, "all but values that JPEG rounds the other way"


@each
def test_mixed_precision_changes_nothing(final, pictures):
    plain = of(USUAL[final], pictures[28])
    with torch.autocast("cpu", torch.bfloat16):
        mixed = of(USUAL[final], pictures[28])
    for name in ("images", "where", "removed"):
        assert torch.equal(getattr(plain, name), getattr(mixed, name))


@each
def test_it_is_a_function_of_its_generator(final, pictures):
    one, again, other = (of(VARIED[final], pictures[28], seed) for seed in ("a", "a", "b"))
    assert torch.equal(one.images, again.images)
    assert torch.equal(one.where, again.where)
    assert torch.equal(one.removed, again.removed)
    assert not torch.equal(one.images, other.images)


@each
def test_each_picture_draws_its_own(final, pictures):
    same = pictures[64][:1].expand(16, -1, -1, -1).contiguous()
    done = of(VARIED[final], same)
    assert len(done.images.flatten(1).unique(dim=0)) >= (3 if final in (Downsample, Chain) else 14)
    assert done.removed.max() > 1.3 * done.removed.min(), "and not only places but strengths"


@each
@pytest.mark.parametrize("channels", [1, 3])
def test_removed_rises_with_the_strength(final, channels, pictures):
    images = pictures[64][:, :channels].repeat(4, 1, 1, 1)
    removed = [float(of(corruption, images).removed.mean()) for corruption in RISING[final]]
    if final is Decolour and channels == 1:
        assert removed == pytest.approx([0, 0, 0], abs=1e-6)
    else:
        assert 1.3 * removed[0] < removed[1] < removed[2] / 1.3


@each
@pytest.mark.parametrize("colour", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.3, 0.3, 0.3), (0.9, 0.2, 0.1)])
def test_a_flat_picture_has_nothing_to_lose(final, colour):
    flat = torch.tensor(colour).view(1, 3, 1, 1).expand(4, 3, 28, 28).contiguous()
    for images in (flat, flat[:, :1]):
        done = of(USUAL[final], images)
        assert done.images.isfinite().all()
        assert done.removed.tolist() == pytest.approx([0] * 4, abs=1e-4)


@each
def test_what_is_gone_is_gone(final, pictures):
    """Nothing of a hidden pixel can be told from what is left."""
    images = pictures[64]
    done = of(USUAL[final], images)
    if not done.where.any():
        assert final in (Blur, Chain, Decolour, Downsample, Jpeg, Noise)
        return
    elsewise = torch.lerp(images, torch.rand(images.shape), done.where.expand_as(images))
    again = of(USUAL[final], elsewise)
    assert torch.equal(again.where, done.where)
    assert torch.equal(again.images, done.images)
    kept = (1 - done.where).bool().expand_as(images)
    assert torch.equal(done.images[kept], images[kept]), "and what is not hidden is as it was"


@each
def test_chance_is_the_share_of_pictures_that_are_corrupted(final, pictures):
    import dataclasses

    images = pictures[28].repeat(20, 1, 1, 1)
    seldom, never = (of(dataclasses.replace(VARIED[final], chance=chance), images) for chance in (0.25, 0.0))
    assert torch.equal(never.images, images)
    assert not never.where.any()
    assert never.removed.max() < 1e-5
    hit = (seldom.images != images).flatten(1).any(1)
    assert 0.15 < hit.float().mean() < 0.35
    assert not seldom.where[~hit].any()
    assert seldom.removed[~hit].max() < 1e-5 < seldom.removed[hit].mean()


@each
def test_json_and_back(final, tmp_path):
    path = tmp_path / "one.json"
    for corruption in (USUAL[final], *RISING[final]):
        path.write_text(json.dumps(to_json(corruption)))
        assert corruptions_asked(["--corruption", str(path), "--size", "9"]) == ([corruption], ["--size", "9"])
        assert hash(corruption) == hash(corruptions_asked(["--corruption", str(path)])[0][0])


@each
def test_chance_and_pictures_are_checked(final, pictures):
    import dataclasses

    with pytest.raises(ValueError, match=r"chance .* not 1.5"):
        dataclasses.replace(USUAL[final], chance=1.5)
    for wrong in ((pictures[28] * 255).byte(), pictures[28][:, :2], pictures[28][0]):
        with pytest.raises(ValueError, match=r"1 or 3 channels, float in \[0, 1\]"):
            of(USUAL[final], wrong)
