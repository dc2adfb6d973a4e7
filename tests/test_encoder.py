from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from selfsight.checkpoint import load_encoder, save_encoder
from selfsight.encoder import load_weights, read_weights
from selfsight.encoders import Small, Timm, named
from selfsight.errors import UserError
from selfsight.recipe import to_json
from selfsight.verbs import backbone_of


@pytest.mark.parametrize(
    ("name", "size", "channels", "dim"),
    [
        ("resnet18", 32, 3, 512),
        ("resnet18", 28, 1, 512),
        ("mobilenetv3_small_050", 64, 3, 1024),
        ("vit_tiny_patch16_224", 32, 3, 192),
        ("convnext_atto", 32, 3, 320),
        ("efficientnet_b0", 96, 3, 1280),
    ],
)
def test_timm_backbones_take_small_images_and_tell_their_true_dimension(name, size, channels, dim):
    encoder = Timm(name=name).build(channels, size)
    assert encoder.dim == dim
    assert encoder(torch.rand(2, channels, size, size)).shape == (2, dim)


def test_the_stem_is_adapted_only_where_the_last_map_would_be_tiny():
    assert Timm(name="resnet18").build(3, 32).note == "conv1 of stride 1, not 2; without maxpool"
    assert Timm(name="resnet18").build(3, 64).note == "conv1 of stride 1, not 2"
    assert Timm(name="resnet18").build(3, 128).note == ""
    assert Timm(name="vit_tiny_patch16_224").build(3, 64).note == "patches of 8 pixels, not 16"


def test_small_is_small_and_keeps_a_useful_last_map():
    encoder = Small().build(3, 64)
    assert encoder.dim == 256
    assert 1.0e6 < sum(p.numel() for p in encoder.parameters()) < 1.5e6
    assert encoder.net.forward_features(torch.zeros(1, 3, 64, 64)).shape[-1] == 4
    assert Small().build(3, 128).net.forward_features(torch.zeros(1, 3, 128, 128)).shape[-1] == 4


def test_random_weights_are_a_function_of_the_seed_alone():
    before = torch.random.get_rng_state()
    one, same, other = (next(Small().build(3, 32, seed).parameters()) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("backbone", [Small(), Timm(name="resnet18")], ids=["small", "resnet18"])
def test_an_untrained_network_is_not_blinded(backbone):
    """No normalisation starts at zero: the untrained baseline is as good as it can be."""
    for name, parameter in backbone.build(3, 32).named_parameters():
        if name.endswith("weight") and parameter.ndim == 1:
            assert parameter.any(), name


def test_an_unknown_name_tells_its_nearest():
    with pytest.raises(UserError, match="no backbone called 'resnt18'.*'resnet18'"):
        named("resnt18").build(3, 32)


def test_wrong_images_are_named():
    with pytest.raises(ValueError, match=r"takes \(N, 3, H, W\) images, not \(2, 1, 32, 32\)"):
        Small().build(3, 32)(torch.zeros(2, 1, 32, 32))


def test_weights_come_back_whole_and_say_so(tmp_path):
    encoder = Small(width=8).build(3, 32, seed=1)
    save_encoder(tmp_path / "e.safetensors", encoder, to_json(Small(width=8)), {})
    again = Small(width=8, weights=str(tmp_path / "e.safetensors")).build(3, 32, seed=2)
    assert again.loaded.whole
    assert "(100.0% of the parameters)" in str(again.loaded)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.eval()(images), encoder.eval()(images))


def test_weights_of_another_encoder_are_refused_unless_part_is_enough(tmp_path):
    save_encoder(tmp_path / "e.safetensors", Small(width=8).build(3, 32), to_json(Small(width=8)), {})
    with pytest.raises(UserError, match="Only part of the encoder would be loaded.*not filled"):
        Small(width=8, weights=str(tmp_path / "e.safetensors")).build(1, 32)
    part = Small(width=8, weights=str(tmp_path / "e.safetensors"), partial=True).build(1, 32)
    assert part.loaded.missing == ("conv1.weight",)
    assert 0.9 < part.loaded.parameters_matched / part.loaded.parameters < 1
    with pytest.raises(UserError, match="Only part"):  # nothing at all fits: never what was meant
        Small(width=12, blocks=2, weights=_nothing(tmp_path), partial=True).build(3, 32)


def _nothing(folder):
    save_file({"else": torch.zeros(3)}, folder / "nothing.safetensors")
    return str(folder / "nothing.safetensors")


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.encoder.net.", "backbone."])
def test_a_prefix_of_the_names_is_taken_off(prefix):
    net = Small(width=8).build(3, 32, seed=1).net
    loaded = load_weights(
        Small(width=8).build(3, 32, seed=2).net, {prefix + k: v for k, v in net.state_dict().items()}, "x"
    )
    assert loaded.whole


def test_nothing_is_unpickled(tmp_path):
    torch.save({"w": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="not a safetensors file"):
        read_weights(str(tmp_path / "w.safetensors"))
    with pytest.raises(UserError, match="no weights"):
        read_weights(str(tmp_path / "missing.safetensors"))


def test_an_exported_encoder_is_built_from_its_own_file(tmp_path):
    backbone = Timm(name="resnet10t")
    encoder = backbone.build(1, 28, seed=3).eval()
    save_encoder(tmp_path / "e.safetensors", encoder, to_json(backbone), {"task": "SimCLR"})
    again = load_encoder(str(tmp_path / "e.safetensors"), backbone_of)
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(again(images), encoder(images))
    assert not again.training
    save_file({"net.x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="not written by selfsight"):
        load_encoder(str(tmp_path / "foreign.safetensors"), backbone_of)


def test_attention_is_written_out_on_a_processor_and_says_the_same(monkeypatch):
    given = torch.rand(2, 3, 32, 32)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    fused = Timm(name="vit_tiny_patch16_224").build(3, 32).eval()
    monkeypatch.undo()
    plain = Timm(name="vit_tiny_patch16_224").build(3, 32).eval()
    assert {block.attn.fused_attn for block in fused.net.blocks} == {True}
    if not torch.cuda.is_available():
        assert {block.attn.fused_attn for block in plain.net.blocks} == {False}
    with torch.no_grad():
        torch.testing.assert_close(plain(given), fused(given), rtol=1e-4, atol=1e-5)
