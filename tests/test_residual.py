"""The small network is timm's residual network with another stem, without timm: names, random weights, maps, answers."""

import pytest
import torch
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from selfsight.encoder import open_branches
from selfsight.encoders import Small
from selfsight.residual import Residual


def theirs(channels, widths, blocks, seed):
    torch.manual_seed(seed)
    net = ResNet(BasicBlock, (blocks,) * 4, num_classes=0, in_chans=channels, channels=tuple(widths))
    open_branches(net)
    return net


def ours(channels, widths, blocks, seed):
    torch.manual_seed(seed)
    return Residual(channels, widths, blocks)


@pytest.mark.parametrize(("widths", "blocks"), [((8, 16, 32, 64), 1), ((64, 64, 96, 128), 2), ((16, 16, 16, 16), 3)])
def test_a_seed_gives_the_weights_that_timms_network_has(widths, blocks):
    one, other = ours(1, widths, blocks, 3).state_dict(), theirs(1, widths, blocks, 3).state_dict()
    assert list(one) == list(other)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_its_answers_and_gradients_are_timms():
    images, found = torch.rand(3, 3, 32, 32), []
    for make in (ours, theirs):
        net = make(3, (8, 16, 32, 64), 2, 0)
        maps = net.forward_intermediates(images, intermediates_only=True)
        z = net(images)
        z.square().sum().backward()
        found.append([z, *maps, *(parameter.grad for parameter in net.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("size", [32, 96])
def test_the_small_encoders_weights_fit_timms_names(size):
    encoder = Small(width=16, blocks=2).build(3, size)
    like = theirs(3, (16, 32, 64, 128), 2, 0)
    like.conv1, like.bn1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
    like.layer1[0] = BasicBlock(16, 16)
    like.maxpool = nn.Identity() if size < 96 else like.maxpool
    like.load_state_dict(encoder.net.state_dict())
    encoder.eval(), like.eval()
    images = torch.rand(2, 3, size, size)
    assert torch.equal(encoder(images), like((images - encoder.mean) / encoder.std))
