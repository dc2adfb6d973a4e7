"""What every distance promises. Add one to selfsight.distances, and it is held to all of this."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from selfsight import distances
from selfsight.distances import LPIPS, Features, Pixels
from selfsight.encoders import Small
from selfsight.errors import UserError
from selfsight.maths.distances import maps_apart, pixels_apart, unit_maps


@pytest.fixture(scope="session")
def vgg(tmp_path_factory):
    """Files as LPIPS wants them, with weights drawn at random: none can be had without a network."""
    from torchvision.models import vgg

    folder = tmp_path_factory.mktemp("vgg")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = vgg.make_layers(vgg.cfgs["D"], batch_norm=False)
        for module in net:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        linear = {
            f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1) for i, width in enumerate((64, 128, 256, 512, 512))
        }
    torch.save({f"features.{name}": value for name, value in net.state_dict().items()}, folder / "vgg16.pth")
    torch.save(linear, folder / "vgg.pth")
    return LPIPS(vgg=str(folder / "vgg16.pth"), linear=str(folder / "vgg.pth"))


@pytest.fixture(params=distances.__all__)
def gauge(request):
    if request.param == "LPIPS":
        return request.getfixturevalue("vgg").build(3)
    return getattr(distances, request.param)().build(3, Small(width=8).build(3, 32))


def pictures(photographs, count, side=32):
    found = torch.from_numpy(photographs[:count]).permute(0, 3, 1, 2).float() / 255
    return nn.functional.interpolate(found, (side, side), mode="area")


@pytest.mark.parametrize("side", [8, 16, 32, 48])
def test_it_is_nothing_for_equal_pictures_and_grows_with_the_damage(gauge, photographs, side):
    truth = pictures(photographs, 6, side)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    answers = torch.stack([truth, truth + 0.05 * noise, truth + 0.3 * noise], 1).clamp(0, 1)
    far = gauge(answers, truth)
    assert far.shape == (6, 3)
    assert far[:, 0].abs().max() < 1e-6
    assert (far[:, 0] < far[:, 1]).all() and (far[:, 1] < far[:, 2]).all()


def test_a_pictures_distance_does_not_depend_on_its_neighbours(gauge, photographs):
    gauge.train()  # as a model that holds it would
    truth, answers = pictures(photographs, 8)[:4], pictures(photographs, 24).view(8, 3, 3, 32, 32)[:4]
    together = gauge(answers, truth)
    for i in range(4):
        assert torch.allclose(gauge(answers[i : i + 1, 1:2], truth[i : i + 1])[0, 0], together[i, 1], rtol=1e-4)


def test_its_slope_is_finite_and_leads_to_the_truth(gauge, photographs):
    truth = pictures(photographs, 4)
    answers = truth.mean((2, 3), keepdim=True).expand_as(truth).clone()
    answers[0] = truth[0]  # no distance, and still a slope
    answers.requires_grad_()
    before = gauge(answers.unsqueeze(1), truth)
    before.sum().backward()
    assert torch.isfinite(answers.grad).all()
    with torch.no_grad():
        step = answers - 0.02 * answers.grad / answers.grad.abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-9)
        assert gauge(step.unsqueeze(1), truth)[1:].sum() < before[1:].sum()


def test_nothing_in_it_is_trained(gauge):
    assert not any(parameter.requires_grad for parameter in gauge.parameters())


def test_features_leave_the_encoder_as_it_was_and_see_what_it_sees(photographs):
    encoder = Small(width=8).build(3, 32)
    kept = {name: value.clone() for name, value in encoder.state_dict().items()}
    given = Features(features=2.0, pixels=0.5, gradients=0.25)
    gauge = given.build(3, encoder)
    truth, answers = pictures(photographs, 2), pictures(photographs, 6)[2:].view(2, 2, 3, 32, 32)
    found = gauge(answers, truth)
    encoder.eval()
    of_answers, of_truth = (unit_maps(encoder.maps(x)) for x in (answers.flatten(0, 1), truth))
    assert len(of_truth) >= 4
    wanted = 2 * maps_apart(of_answers, of_truth) + pixels_apart(answers, truth, 0.5, 0.25, "squared")
    assert torch.allclose(found, wanted)
    assert all(torch.equal(value, kept[name]) for name, value in encoder.state_dict().items())
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    small = nn.functional.avg_pool2d(truth, 2)
    assert torch.equal(
        gauge(small.flip(0).unsqueeze(1), small),
        Pixels(pixels=0.5, gradients=0.25).build(3)(small.flip(0).unsqueeze(1), small),
    )


def test_features_ask_for_an_encoder_that_fits():
    with pytest.raises(UserError, match="an encoder of 3-channel pictures, and none was given"):
        Features().build(3)
    with pytest.raises(UserError, match="and the one given takes 1"):
        Features().build(3, Small(width=8).build(1, 32))


def test_lpips_is_the_papers_formula(vgg, photographs):
    """Restated with hooks on the network itself: five maps, unit vectors, squares, weighted, meant, summed."""
    gauge = vgg.build(3)
    truth, answers = pictures(photographs, 2), pictures(photographs, 4)[2:].unsqueeze(1)
    net = gauge.net
    linear = torch.load(vgg.linear, weights_only=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    wanted = torch.zeros(2)
    for i in range(2):
        x, y = ((p - mean[:, None, None]) / std[:, None, None] for p in (answers[i, 0], truth[i]))
        x, y, number = x[None], y[None], 0
        for place, layer in enumerate(net):
            x, y = layer(x), layer(y)
            if place in (3, 8, 15, 22, 29):
                u, v = (m / m.square().sum(1, keepdim=True).sqrt().clamp(min=1e-10) for m in (x, y))
                wanted[i] += ((u - v).square() * linear[f"lin{number}.model.1.weight"]).sum(1).mean()
                number += 1
        assert number == 5
    assert torch.allclose(gauge(answers, truth)[:, 0], wanted, rtol=1e-3)
    assert LPIPS(vgg=vgg.vgg).build(3)(answers, truth).shape == (2, 1)
    assert gauge(answers[:, :, :1], truth[:, :1]).shape == (2, 1)  # gray


def test_lpips_without_its_weights_says_what_to_do(vgg, tmp_path):
    with pytest.raises(UserError, match="LPIPS needs weights, and there is no file ''"):
        LPIPS().build(3)
    with pytest.raises(UserError, match=r"has no lin0\.model\.1\.weight"):
        LPIPS(vgg=vgg.vgg, linear=vgg.vgg).build(3)
    (tmp_path / "broken.pth").write_bytes(b"not weights")
    with pytest.raises(UserError, match="is not a file of torch weights"):
        LPIPS(vgg=str(tmp_path / "broken.pth")).build(3)


@pytest.mark.parametrize("words", [{"pixels": -1.0}, {"pixels": 0.0, "gradients": 0.0}])
def test_weights_that_make_no_distance_are_refused(words):
    with pytest.raises(ValueError, match="at least 0 and not both 0"):
        Pixels(**words)
    with pytest.raises(ValueError, match="take the distance Pixels"):
        Features(features=0.0)
