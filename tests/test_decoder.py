"""The decoder lays out what the encoder saw, at every size, and sees nothing else unless asked to."""

import pytest
import torch
from torch import nn

from selfsight.decoder import Decoder
from selfsight.encoder import Encoder
from selfsight.encoders import Small, Timm


@pytest.mark.parametrize(("channels", "size", "map_side"), [(1, 28, 2), (3, 32, 2), (3, 64, 4), (3, 112, 4)])
def test_a_picture_comes_out_at_every_size(channels, size, map_side):
    encoder = Small(width=8).build(channels, size)
    pictures = torch.rand(2, channels, size, size)
    z, seen = encoder.with_map(pictures)
    assert z.shape == (2, encoder.dim)
    assert seen.shape[-2:] == (map_side, map_side)
    assert Decoder(width=16).build(encoder, 2)(z, seen, pictures).shape == (2, 2, size, size)


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", 32), ("vit_tiny_patch16_224", 32), ("swin_tiny_patch4_window7_224", 224), ("convnext_atto", 64)],
)
def test_the_map_of_timms_backbones(name, size):
    """The embedding is the one `forward` gives; the map has its length, so it is channels that come first."""
    encoder = Timm(name=name).build(3, size).eval()
    pictures = torch.rand(2, 3, size, size)
    with torch.no_grad():
        z, seen = encoder.with_map(pictures)
        assert torch.allclose(z, encoder(pictures), atol=1e-5)
    assert seen.shape[:2] == (2, encoder.dim)
    assert seen.shape[2] == seen.shape[3] > 1


def test_the_place_in_the_map_is_the_place_in_the_picture():
    encoder = Small(width=8).build(3, 64)
    pictures = torch.zeros(1, 3, 64, 64)
    pictures[..., :16, 48:] = 1.0
    blank = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        change = (encoder.eval().with_map(pictures)[1] - encoder.with_map(blank)[1]).abs().sum(1)[0]
    assert change[:2, 2:].sum() > 0.6 * change.sum()


def test_a_network_without_a_map_gives_its_embedding():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    encoder = Encoder(net, channels=3, size=12)
    pictures = torch.rand(2, 3, 12, 12)
    z, seen = encoder.with_map(pictures)
    assert torch.equal(seen[:, :, 0, 0], z)
    assert Decoder(width=16).build(encoder, 3)(z, seen, pictures).shape == (2, 3, 12, 12)


@pytest.mark.parametrize("sees", [False, True])
def test_it_sees_the_picture_only_when_asked_to(sees):
    encoder = Small(width=8).build(3, 32)
    head = Decoder(width=16, sees_picture=sees).build(encoder, 3)
    pictures = torch.rand(2, 3, 32, 32)
    z, seen = encoder.with_map(pictures)
    assert torch.equal(head(z, seen, pictures), head(z, seen, torch.rand(2, 3, 32, 32))) != sees


def test_building_it_leaves_the_encoder_as_it_was():
    encoder = Small(width=8).build(3, 32).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    Decoder().build(encoder, 3)
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_embedding_and_map_both_learn():
    encoder = Small(width=8).build(3, 32)
    head = Decoder(width=16).build(encoder, 3)
    z, seen = torch.randn(2, encoder.dim, requires_grad=True), torch.randn(2, encoder.dim, 2, 2, requires_grad=True)
    head(z, seen, torch.rand(2, 3, 32, 32)).sum().backward()
    assert z.grad.abs().sum() > 0
    assert seen.grad.abs().sum() > 0
