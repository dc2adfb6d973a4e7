"""Distances against loops over pixels; what is told of several answers on numbers made by hand."""

from __future__ import annotations

import pytest
import torch

from selfsight.maths.distances import maps_apart, pixels_apart, sharpness, spread, unit_maps


def _drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("difference", ["absolute", "squared"])
def test_pixels_apart_is_a_sum_over_pixels(difference) -> None:
    answers, truth = _drawn(2, 3, 2, 4, 5), _drawn(2, 2, 4, 5, seed=1)
    size = abs if difference == "absolute" else lambda x: x * x
    found = pixels_apart(answers, truth, 2.0, 0.5, difference)
    for n in range(2):
        for k in range(3):
            a, t = answers[n, k].tolist(), truth[n].tolist()
            plain = [size(a[c][y][x] - t[c][y][x]) for c in range(2) for y in range(4) for x in range(5)]
            across = [
                size((a[c][y][x + 1] - a[c][y][x]) - (t[c][y][x + 1] - t[c][y][x]))
                for c in range(2) for y in range(4) for x in range(4)
            ]  # fmt: skip
            down = [
                size((a[c][y + 1][x] - a[c][y][x]) - (t[c][y + 1][x] - t[c][y][x]))
                for c in range(2) for y in range(3) for x in range(5)
            ]  # fmt: skip
            wanted = 2.0 * sum(plain) / len(plain) + 0.5 * (sum(across) / len(across) + sum(down) / len(down))
            assert float(found[n, k]) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("how", ["absolute", "squared"])
def test_a_picture_of_one_pixel_has_no_gradients(how) -> None:
    assert pixels_apart(torch.ones(1, 2, 3, 1, 1), torch.zeros(1, 3, 1, 1), 1.0, 1.0, how).tolist() == [[1.0, 1.0]]


def test_maps_apart_is_the_papers_sum() -> None:
    answers, truth = [_drawn(6, 4, 3, 3), _drawn(6, 2, 2, 2)], [_drawn(3, 4, 3, 3, seed=1), _drawn(3, 2, 2, 2, seed=1)]
    weights = [_drawn(4, seed=2), _drawn(2, seed=3)]
    found = maps_apart(answers, truth, weights)
    assert torch.allclose(maps_apart(answers, truth), maps_apart(answers, truth, [torch.ones_like(w) for w in weights]))
    for n in range(3):
        for k in range(2):
            wanted = 0.0
            for given, right, weight in zip(answers, truth, weights, strict=True):
                squares = (given[2 * n + k] - right[n]) ** 2
                side = right.shape[-1]
                wanted += sum(
                    float(weight[f] * squares[f, y, x]) / side**2
                    for f in range(len(weight)) for y in range(side) for x in range(side)
                )  # fmt: skip
            assert float(found[n, k]) == pytest.approx(wanted, rel=1e-9)


def test_unit_maps_have_length_one_and_a_bounded_slope_at_zero() -> None:
    maps = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    maps[0, :, 0, 0] = 0
    maps.requires_grad_()
    (unit,) = unit_maps([maps])
    lengths = unit.square().sum(1)
    assert lengths[0, 0, 0] == 0
    assert torch.allclose(lengths.flatten()[1:], torch.ones(17), atol=1e-5)
    unit.sum().backward()
    assert maps.grad is not None and maps.grad.abs().max() <= 1001


def test_spread_is_the_mean_over_pairs() -> None:
    answers = torch.tensor([[0.0, 0.1, 0.5], [0.2, 0.2, 0.2]]).view(2, 3, 1, 1, 1).expand(2, 3, 1, 4, 4)
    found = spread(answers, lambda a, t: pixels_apart(a, t, 1.0, 1.0, "absolute"))
    assert found.tolist() == pytest.approx([(0.1 + 0.5 + 0.4) / 3, 0.0])
    with pytest.raises(ValueError, match="at least 2 of them, not 1"):
        spread(answers[:, :1], lambda a, t: pixels_apart(a, t, 1.0, 1.0, "absolute"))


def test_sharpness_falls_with_blur_and_rises_with_noise(photographs) -> None:
    truth = torch.from_numpy(photographs[:12]).permute(0, 3, 1, 2).float() / 255
    soft = torch.nn.functional.avg_pool2d(truth, 3, 1, 1, count_include_pad=False)
    noisy = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    same, less, more = (float(sharpness(x.unsqueeze(1), truth)) for x in (truth, soft, noisy))
    assert same == pytest.approx(1)
    assert less < 0.6 < 1.5 < more
    assert float(sharpness(torch.stack([truth, soft], 1), truth)) == pytest.approx((same + less) / 2, rel=1e-4)
    flat = torch.full((2, 3, 4, 4), 0.3)
    assert float(sharpness(flat.unsqueeze(1), flat)) == 1
