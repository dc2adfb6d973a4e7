"""What CAM-Net says of itself: its sides, its odd mapping, its colour, its twin."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from selfsight.corruptions import CutOut, Noise, spelled
from selfsight.errors import UserError
from selfsight.images.lab import to_lab
from selfsight.restorers import CamNet
from selfsight.restorers.camnet import fold, unfold
from selfsight.tasks import Restore


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        (28, (7, 14, 28)),
        (32, (8, 16, 32)),
        (64, (8, 16, 32, 64)),
        (96, (12, 24, 48, 96)),
        (256, (8, 16, 32, 64, 128, 256)),
    ],
)
def test_sides_are_halved(size, sides):
    assert CamNet().build(1, size).sides == sides


def test_the_default_is_small():
    stack = CamNet().build(3, 64)
    assert sum(parameter.numel() for parameter in stack.parameters()) <= 500_000


def test_opposite_codes_turn_the_style_the_opposite_way():
    """So that the mean over all codes changes nothing."""
    stack = CamNet(grains=0).build(3, 32)
    code = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    for scale in stack.scales:
        one, other = (torch.cat(scale.style(sign * code, None, 5), -1).detach() for sign in (1, -1))
        assert torch.allclose(one, -other, atol=1e-6)
        assert 0.04 < float(one.std()) < 0.16


def test_colour_keeps_the_lightness_of_what_is_left():
    """Wherever a screen can show the colour: there L is what it was, and a and b are not."""
    stack = CamNet(predicts="colour").build(3, 32)
    left = (0.3 + 0.4 * rand(4, 1, 32, 32)).expand(-1, 3, -1, -1)
    answer = stack(left, stack.draw(4, torch.Generator().manual_seed(0)))[-1]
    shown = ((answer > 0) & (answer < 1)).all(1)
    assert shown.float().mean() > 0.5
    found, given = to_lab(answer), to_lab(left)
    assert (found[:, 0] - given[:, 0])[shown].abs().max() < 0.05
    assert found[:, 1:].abs().mean() > 1
    with pytest.raises(UserError, match="Colour is predicted for 3 channels"):
        CamNet(predicts="colour").build(1, 32)


def test_all_of_lab_changes_lightness_too():
    stack = CamNet(predicts="lab").build(3, 32)
    left = (0.3 + 0.4 * rand(4, 1, 32, 32)).expand(-1, 3, -1, -1)
    answer = stack(left, stack.draw(4, torch.Generator().manual_seed(0)))[-1]
    found, given = to_lab(answer), to_lab(left)
    assert (found[:, 0] - given[:, 0]).abs().mean() > 1
    assert found[:, 1:].abs().mean() > 1
    for scale in stack.scales:
        scale.last.weight.data.zero_()
        scale.last.bias.data.zero_()
    same = stack(left, stack.draw(4, torch.Generator().manual_seed(0)))[-1]
    assert torch.allclose(same, left, atol=1e-4)  # there and back
    with pytest.raises(UserError, match="predicted for 3 channels"):
        CamNet(predicts="lab").build(1, 32)


def test_a_pixel_beyond_white_can_come_back():
    stack = CamNet().build(1, 28)
    with torch.no_grad():
        for scale in stack.scales:
            scale.last.bias.fill_(2.0)
    answer = stack(rand(2, 1, 28, 28), stack.draw(2, torch.Generator().manual_seed(0)))[-1]
    assert (answer == 1).float().mean() > 0.9
    answer.sum().backward()
    assert stack.scales[-1].last.bias.grad.abs().min() > 0


def test_the_twin_is_the_same_net_without_codes():
    ways, twin = CamNet().build(3, 64), CamNet(ways=False).build(3, 64)
    assert twin.lengths == (0, 0, 0, 0)
    assert set(dict(twin.named_parameters())) == {name for name, _ in ways.named_parameters() if ".style." not in name}
    left = rand(2, 3, 64, 64)
    one, other = (twin(left, twin.draw(2, torch.Generator().manual_seed(seed))) for seed in (0, 1))
    assert all(torch.equal(x, y) for x, y in zip(one, other, strict=True))
    answers, _ = twin.level(0, twin.pictures(left)[0], torch.empty(6, 0))
    assert len(answers) == 6
    assert torch.equal(answers[0], answers[2]) and not torch.equal(answers[2], answers[3])


@pytest.mark.parametrize("ways", [True, False])
def test_the_embedding_is_heeded_and_asked_for(ways):
    stack = CamNet(ways=ways).build(3, 32, dim=6)
    left, codes = rand(2, 3, 32, 32), stack.draw(2, torch.Generator().manual_seed(0))
    z = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
    answer = stack(left, codes, z)[-1]
    assert (answer - stack(left, codes, -z)[-1]).detach().abs().mean() > 1e-3
    answer.square().sum().backward()
    assert all(parameter.grad is not None for parameter in stack.parameters())
    with pytest.raises(ValueError, match="built for embeddings of 6 numbers"):
        stack(left, codes)
    with pytest.raises(ValueError, match=r"built for embeddings of 0 numbers .* and \(2, 6\) came"):
        CamNet().build(3, 32)(left, codes, z)


@pytest.mark.parametrize(
    ("words", "told"), [({"width": 0}, "at least 1"), ({"blocks": -1}, "at least 0"), ({"code": 0}, "at least 1")]
)
def test_settings_that_make_no_net_are_refused(words, told):
    with pytest.raises(ValueError, match=told):
        CamNet(**words)


def test_a_size_that_cannot_be_halved_is_refused_with_one_that_can():
    with pytest.raises(UserError, match="A picture of 130 pixels cannot be halved .* give --size 128"):
        CamNet().build(3, 130)
    assert len(CamNet().build(3, 128).sides) == 5
    for size in (125, 165, 250):
        with pytest.raises(UserError, match="cannot be halved") as refused:
            CamNet().build(3, size)
        CamNet().build(3, int(str(refused.value).split()[-1].rstrip(".")))


def test_pixels_become_channels_and_back():
    x = rand(2, 3, 6, 6, 5)
    folded = fold(x, 2)
    assert folded.shape == (2, 3, 3, 3, 20)
    assert torch.equal(folded[1, 2, 0, 1], torch.cat([x[1, 2, 0, 2], x[1, 2, 0, 3], x[1, 2, 1, 2], x[1, 2, 1, 3]]))
    assert torch.equal(unfold(folded, 2), x)


def test_what_is_known_is_kept_to_the_bit_and_what_is_hidden_is_not():
    stack = CamNet(predicts="hidden").build(3, 32)
    done = CutOut(filled="noise")(rand(4, 3, 32, 32), torch.Generator().manual_seed(1))
    shown = stack.with_holes(done.images, done.where)
    codes = [stack.draw(4, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    one, other = (stack(shown, code)[-1] for code in codes)
    known, hidden = ((done.where == side).expand_as(one) for side in (0, 1))
    assert torch.equal(one[known], done.images[known]) and not torch.equal(one[hidden], done.images[hidden])
    assert (one - other)[hidden].abs().mean() > 1e-3


def test_it_answers_at_256_pixels():
    stack = CamNet(width=4, widest=8).build(3, 256)
    answers = stack(rand(1, 3, 256, 256), stack.draw(1, torch.Generator().manual_seed(0)))
    assert [answer.shape[-1] for answer in answers] == [8, 16, 32, 64, 128, 256]


def test_it_is_told_where_pixels_are_gone():
    """Of two pictures that look alike, what is hidden of each is another half."""
    stack = CamNet(predicts="hidden").build(3, 32)
    left, where = torch.full((1, 3, 32, 32), 0.5), torch.zeros(1, 1, 32, 32)
    where[..., :16] = 1
    codes = stack.draw(1, torch.Generator().manual_seed(0))
    one, other = (stack(stack.with_holes(left, here), codes)[-1] != 0.5 for here in (where, 1 - where))
    assert one[..., :16].any() and not one[..., 16:].any() and other[..., 16:].any() and not other[..., :16].any()


@pytest.mark.parametrize(
    ("corruption", "predicts"),
    [
        ("cutout", "hidden"),
        ("cowmask/cropout", "hidden"),
        ("cutout+patterneddropout", "hidden"),
        ("cutout+blur", "picture"),
        ("cutout/decolour", "picture"),
        ("decolour+downsample", "picture"),
    ],
)
def test_it_suits_itself_to_what_is_taken(corruption, predicts):
    task = Restore(corruption=spelled(corruption))
    assert task.suited().predicts == predicts
    assert replace(Restore(corruption=Noise()), corruption=task.corruption).suited() == task.suited()
    assert replace(task, restorer=CamNet(predicts="picture")).suited().predicts == "picture"


def test_what_hides_nothing_is_not_to_be_filled():
    with pytest.raises(ValueError, match="predicts hidden is for corruptions that only hide"):
        Restore(corruption=Noise(), restorer=CamNet(predicts="hidden"))


@pytest.mark.parametrize("predicts", ["picture", "colour"])
def test_its_slope_is_that_of_its_answers(predicts):
    """Through every level: what is learned at the finest is also learned by the coarsest."""
    stack = CamNet(predicts=predicts, width=4, widest=8, code=3).build(3, 28).double()
    left = (0.45 + 0.1 * rand(2, 1, 28, 28).double()).expand(-1, 3, -1, -1)
    with torch.no_grad():
        for scale in stack.scales:
            scale.last.weight.mul_(0.1)
            scale.last.bias.mul_(0.1)
    codes = stack.draw(2, torch.Generator().manual_seed(0))
    answer = stack(left, codes)[-1]
    assert ((answer > 0) & (answer < 1)).all()
    answer.square().sum().backward()
    step = {name: torch.sin(torch.arange(p.numel()).double()).view_as(p) for name, p in stack.named_parameters()}
    wanted = sum((p.grad * step[name]).sum() for name, p in stack.named_parameters())

    def moved(by):
        there = {name: p.detach() + by * step[name] for name, p in stack.named_parameters()}
        return torch.func.functional_call(stack, there, (left, codes))[-1].square().sum()

    assert float((moved(1e-6) - moved(-1e-6)) / 2e-6) == pytest.approx(float(wanted), rel=1e-3)
