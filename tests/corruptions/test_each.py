"""Each corruption takes away what its name says, and as much as is asked."""

import pytest
import torch
import torch.nn.functional as F

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
)
from selfsight.images.lab import to_lab
from selfsight.images.lost import lost
from selfsight.seeds import generator


@pytest.fixture
def images(photographs) -> torch.Tensor:
    """(60, 3, 32, 32)"""
    return torch.from_numpy(photographs[:60]).permute(0, 3, 1, 2).float() / 255


def of(corruption, images, seed="each"):
    return corruption(images, generator(seed))


def test_decolour_leaves_the_lightness_and_no_colour(images):
    left = of(Decolour(), images).images
    assert torch.equal(left, left[:, :1].expand_as(left))
    assert torch.allclose(to_lab(left)[:, 0], to_lab(images)[:, 0], atol=0.1)


def test_decolour_by_half_halves_the_colour(images):
    left, gray = of(Decolour(amount=(0.5, 0.5)), images).images, of(Decolour(), images).images
    assert torch.allclose(left - gray, (images - gray) / 2, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_downsample_is_torchs_antialiased_resize_there_and_back(images, factor):
    small = F.interpolate(images, (32 // factor, 32 // factor), mode="bilinear", antialias=True)
    back = F.interpolate(small, (32, 32), mode="bilinear", antialias=True)
    assert torch.allclose(of(Downsample(factors=(factor,)), images).images, back, atol=1e-5)


def test_downsample_draws_its_factor_for_each_picture(images):
    same = images[:1].expand(300, -1, -1, -1).contiguous()
    shown, counts = of(Downsample(factors=(2, 4, 8)), same).images.flatten(1).unique(dim=0, return_counts=True)
    assert len(shown) == 3
    assert counts.min() > 70


def box(where):
    """(top, left, tall, wide) of what is kept of one mask (H, W)."""
    rows, columns = ((where == 0).any(axis).nonzero()[:, 0] for axis in (1, 0))
    kept = [int(rows[0]), int(columns[0]), len(rows), len(columns)]
    assert (where == 0).sum() == kept[2] * kept[3], "a rectangle"
    return kept


@pytest.mark.parametrize("lies", ["anywhere", "edge", "side"])
def test_cropout_keeps_a_rectangle_of_the_area_asked(images, lies):
    where = of(CropOut(kept=(0.3, 0.6), lies=lies), images).where[:, 0]
    boxes = torch.tensor([box(one) for one in where]).T
    top, left, tall, wide = boxes
    share = tall * wide / 32**2
    assert share.min() > 0.27 and share.max() < 0.63
    assert share.std() > 0.05
    touching = torch.stack([top == 0, left == 0, top + tall == 32, left + wide == 32]).sum(0)
    if lies == "anywhere":
        assert (touching == 0).sum() > 10
        assert 0.4 < (wide > tall).float().mean() < 0.6
        assert (wide / tall).max() < 2.2 and (tall / wide).max() < 2.2
    assert touching.min() >= {"anywhere": 0, "edge": 1, "side": 3}[lies]
    if lies != "anywhere":
        first = [int(((top == 0) & (wide < 32)).sum()), int(((top + tall == 32) & (wide < 32)).sum())]
        assert min(first) > 3, "every edge has its turn"


def test_cropout_keeps_halves(images):
    where = of(CropOut(kept=(0.5, 0.5), lies="side"), images).where
    assert {tuple(box(one[0])) for one in where} == {(0, 0, 16, 32), (16, 0, 16, 32), (0, 0, 32, 16), (0, 16, 32, 16)}


@pytest.mark.parametrize(
    ("lies", "hidden"),
    [("top", (16, 0, 16, 32)), ("bottom", (0, 0, 16, 32)), ("left", (0, 16, 32, 16)), ("right", (0, 0, 32, 16))],
)
def test_cropout_keeps_the_side_that_is_named(images, lies, hidden):
    where = of(CropOut(kept=(0.5, 0.5), lies=lies), images).where
    top, left, tall, wide = hidden
    wanted = torch.zeros(32, 32)
    wanted[top : top + tall, left : left + wide] = 1
    assert torch.equal(where, wanted.expand_as(where))


@pytest.mark.parametrize(("ratio", "across"), [(4.0, True), (0.25, False)])
def test_a_rectangle_that_would_not_fit_bends(images, ratio, across):
    shape = images[:, :, :, :16] if across else images[:, :, :16]
    where = of(CropOut(kept=(0.8, 0.8), ratio=(ratio, ratio)), shape).where
    kept = torch.tensor([box(one[0]) for one in where])
    assert (kept[:, 3 if across else 2] == 16).all()
    assert ((kept[:, 2 if across else 3] * 16 / 512 - 0.8).abs() < 0.04).all()


def test_cutout_hides_squares_of_the_size_and_number_asked(images):
    one = of(CutOut(count=(1, 1), size=(0.25, 0.25)), images.repeat(5, 1, 1, 1)).where
    assert one.sum((1, 2, 3)).max() == 64
    assert one.sum((1, 2, 3)).min() >= 16, "at least a quarter of it lies inside"
    inside = one[:, 0, 0].sum(1) + one[:, 0, -1].sum(1) + one[:, 0, :, 0].sum(1) + one[:, 0, :, -1].sum(1) == 0
    assert inside.sum() > 20
    for mask in one[inside]:
        rows, columns = (mask[0].any(axis).sum() for axis in (0, 1))
        assert rows == columns == 8
    counts = ((1, 1), (1, 4), (4, 4))
    few, drawn, many = (
        float(of(CutOut(count=k, size=(0.2, 0.2)), images.repeat(5, 1, 1, 1)).where.mean()) for k in counts
    )
    assert 3 * few < many < 4 * few
    assert drawn == pytest.approx((few + many) / 2, rel=0.1)


def test_cowmask_hides_exactly_the_share(images):
    where = of(CowMask(share=(0.3, 0.3)), images).where
    assert where.sum((1, 2, 3)).tolist() == [round(0.3 * 32**2)] * 60
    drawn = of(CowMask(share=(0.2, 0.9)), images).where.mean((1, 2, 3))
    assert 0.2 <= drawn.min() < 0.3 and 0.8 < drawn.max() <= 0.9


def test_a_wide_cow_has_fewer_patches(images):
    borders = [
        float(of(CowMask(share=(0.5, 0.5), sigma=(s, s)), images).where.diff(dim=-1).abs().mean())
        for s in (1 / 32, 1 / 8, 1 / 2)
    ]
    assert borders[0] > 2 * borders[1] > 4 * borders[2] > 0


def test_patterns_hide_more_where_squares_are_nearer_and_more(images):
    def share(**settings):
        return float(of(PatternedDropout(size=(0.1, 0.1), **settings), images).where.mean())

    dense = share(stride=(1.5, 1.5), repeat=(20, 20), shear_x=(0, 0), shear_y=(0, 0))
    assert dense == pytest.approx(1 / 1.5**2, rel=0.05)
    assert share(stride=(3.0, 3.0), repeat=(20, 20), shear_x=(0, 0), shear_y=(0, 0)) == pytest.approx(1 / 9, rel=0.1)
    assert share(stride=(1.5, 1.5), repeat=(1, 1)) < 0.02


@pytest.mark.parametrize("change", [{}, {"rotate": (30, 30)}, {"shear_x": (0.3, 0.3)}, {"shear_y": (-0.3, -0.3)}])
def test_only_upright_patterns_are_made_of_rows_and_columns(images, change):
    still = {"rotate": (0, 0), "shear_x": (0, 0), "shear_y": (0, 0)}
    where = of(PatternedDropout(**(still | change)), images).where
    crossed = where.amax(2, keepdim=True) * where.amax(3, keepdim=True)
    assert (where == crossed).flatten(1).all(1).float().mean() == pytest.approx(0 if change else 1, abs=0.15)


def test_blur_is_wider_on_larger_pictures(images):
    large = F.interpolate(images, (64, 64), mode="bilinear")
    small_left, large_left = (of(Blur(sigma=(0.05, 0.05)), one).images for one in (images, large))
    assert (F.avg_pool2d(large_left, 2) - small_left).abs().mean() < 0.01


def test_noise_and_jpeg_are_as_strong_as_asked(images):
    middle = images * 0.2 + 0.4
    assert float((of(Noise(deviation=(0.05, 0.05)), middle).images - middle).std()) == pytest.approx(0.05, rel=0.02)
    errors = [float((of(Jpeg(quality=(q, q)), images).images - images).square().mean()) for q in (90, 50, 10)]
    assert errors[0] < errors[1] / 2 < errors[2] / 4


@pytest.mark.parametrize("filled", ["mean", "gray", "noise"])
def test_what_is_hidden_is_filled_as_asked(images, filled):
    done = of(CutOut(filled=filled), images)
    hidden = done.where[0].bool().expand(3, -1, -1)
    inside = done.images[0][hidden].view(3, -1)
    outside = images[0][~hidden].view(3, -1).mean(1)
    if filled == "noise":
        assert inside.std() == pytest.approx(12**-0.5, rel=0.1)
    else:
        expected = outside if filled == "mean" else torch.full((3,), 0.5)
        assert torch.allclose(inside, expected[:, None].expand_as(inside), atol=1e-6)


def test_a_chain_does_one_after_the_other_and_measures_the_end(images):
    both = Chain(corruptions=(CutOut(), Decolour(), CowMask(share=(0.2, 0.2))))
    done, draws = of(both, images), generator("each")
    left, first = CutOut().apply(images, draws)
    left, _ = Decolour().apply(left, draws)
    left, last = CowMask(share=(0.2, 0.2)).apply(left, draws)
    assert torch.equal(done.images, left)
    assert torch.equal(done.where, ((first + last) > 0).float())
    assert torch.equal(done.removed, lost(images, left))
    assert not (first * last == first).all()


def test_of_several_each_picture_suffers_one(images):
    many = torch.cat([images] * 20)
    done = of(OneOf(corruptions=(Decolour(), CropOut(lies="left", kept=(0.5, 0.5)))), many)
    hidden = done.where.flatten(1).any(1)
    assert 0.45 < hidden.float().mean() < 0.55
    assert torch.equal(done.images[~hidden], of(Decolour(), many[~hidden]).images)
    seen = 1 - done.where[hidden]
    assert torch.equal(done.images[hidden] * seen, many[hidden] * seen)  # with its colours


def test_a_chain_whose_parts_have_chances(images):
    done = of(Chain(corruptions=(Decolour(chance=0.5), CutOut(chance=0.5))), images)
    gray = (done.images - done.images[:, :1]).abs().flatten(1).amax(1) == 0
    holed = done.where.flatten(1).any(1)
    counts = [int((gray == a).logical_and(holed == b).sum()) for a in (False, True) for b in (False, True)]
    assert min(counts) >= 6


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Decolour(amount=(0.0, 1.5)), r"amount is \(least, most\) share .*, 0 <= least <= most <= 1, not"),
        (lambda: Downsample(factors=()), r"factors are one or more .* from 2 to 16, not \(\)"),
        (lambda: Downsample(factors=(1,)), "from 2 to 16"),
        (lambda: CropOut(kept=(0.0, 0.5)), "0 < least <= most < 1"),
        (lambda: CropOut(ratio=(2.0, 0.5)), r"0 < least <= most, not \(2.0, 0.5\)"),
        (lambda: CutOut(count=(0, 2)), "1 <= least"),
        (lambda: CutOut(size=(0.5, 1.5)), "size is"),
        (lambda: CowMask(share=(0.5, 1.0)), "share is"),
        (lambda: CowMask(sigma=(0.0, 0.1)), "sigma is"),
        (lambda: PatternedDropout(size=(0.0, 0.1)), "size is"),
        (lambda: PatternedDropout(stride=(1.0, 2.0)), "stride is"),
        (lambda: PatternedDropout(repeat=(0, 1)), "repeat is"),
        (lambda: PatternedDropout(rotate=(0.0, 999.0)), "rotate is"),
        (lambda: PatternedDropout(shear_x=(-1.0, 0.0)), "shear_x is"),
        (lambda: PatternedDropout(shear_y=(0.0, 1.0)), "shear_y is"),
        (lambda: Blur(sigma=(0.0, 0.1)), "sigma is"),
        (lambda: Jpeg(quality=(0.0, 10.0)), "quality is"),
        (lambda: Noise(deviation=(-0.1, 0.1)), "deviation is"),
        (lambda: Chain(corruptions=()), "one or more corruptions"),
        (lambda: Chain(corruptions=("blur",)), "one or more corruptions"),
    ],
)
def test_impossible_settings_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
