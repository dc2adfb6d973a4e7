"""Any image backbone of timm, by name.

Networks made for 224 pixels throw most of a small image away in their first layers. Where the last map would be
smaller than 3 x 3, the strides of the stem are taken out one by one (convolution, then pooling), and a transformer gets
smaller patches; what was changed is kept in `Encoder.note`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from selfsight.encoder import Backbone, Encoder, Loaded, load_weights, open_branches, read_weights
from selfsight.errors import UserError, nearest

LAST_MAP = 3
"""Smallest side of the last feature map that is left alone."""
PATCHES = 8
"""Patches along a side that a transformer gets of a small image: 64 tokens."""


@dataclass(frozen=True, kw_only=True)
class Timm(Backbone):
    """Good: any size from mobile to giant, pretrained weights. Poor: nothing here is tuned for minutes on a CPU."""

    name: str = "resnet18"
    """The model's name in timm."""
    weights: str | None = None
    """"pretrained" (timm fetches them), a .safetensors file, or a run of the same encoder."""
    partial: bool = False
    """Accept weights that fill only part of the network."""

    def build(self, channels: int, size: int, seed: int = 0) -> Encoder:
        import timm

        if not timm.is_model(self.name):
            raise UserError(
                f"timm has no backbone called {self.name!r}{nearest(self.name, timm.list_models())}. "
                "`small` is the default; `python -c 'import timm; print(timm.list_models())'` lists the others."
            )
        pretrained = self.weights == "pretrained"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                net, note = _create(self.name, channels, size, pretrained)
            except (RuntimeError, OSError) as error:
                if not pretrained:
                    raise
                reason = str(error).splitlines()[0]
                raise UserError(
                    f"The pretrained weights of {self.name} cannot be had ({reason}). "
                    "Train without them, or give a file."
                ) from error
        if not pretrained:
            open_branches(net)
        explicit_attention(net)
        mean, std = (net.pretrained_cfg.get(key) for key in ("mean", "std"))
        scaling: dict[str, Any] = {"mean": tuple(mean), "std": tuple(std)} if channels == 3 and mean and std else {}
        try:
            encoder = Encoder(net, channels=channels, size=size, note=note, **scaling)
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f"{self.name} cannot take {size}-pixel images ({error}). Try a larger --size or another --encoder."
            ) from error
        if pretrained:
            count, sizes = len(net.state_dict()), sum(p.numel() for p in net.parameters())
            encoder.loaded = Loaded(
                f"timm ({net.pretrained_cfg.get('tag') or 'default'})", count, count, sizes, sizes, (), ()
            )
        elif self.weights:
            tensors, _ = read_weights(self.weights)
            encoder.loaded = load_weights(encoder.net, tensors, self.weights, self.partial)
        return encoder


def explicit_attention(net: nn.Module) -> int:
    """Writes attention out where there is no GPU -> how many layers. torch's fused attention has a slow way back on a
    processor: ViT-tiny on 64 patches learns 1.9 times as fast in bf16 with it written out (two cores, 138 images/s for
    72, medians of six steps in turn), and .95 times as fast in fp32."""
    if torch.cuda.is_available():
        return 0
    layers = [layer for layer in net.modules() if isinstance(getattr(layer, "fused_attn", None), bool)]
    for layer in layers:
        layer.fused_attn = False  # type: ignore[assignment]
    return len(layers)


def _create(name: str, channels: int, size: int, pretrained: bool) -> tuple[Any, str]:
    import timm

    settings: dict[str, Any] = {"num_classes": 0, "in_chans": channels, "pretrained": pretrained}
    if _is_transformer(name):
        patch = max(2, size // PATCHES)
        first = timm.create_model(name, num_classes=0, in_chans=channels)
        usual = first.patch_embed.patch_size[0]
        settings["img_size"] = size
        if patch < usual:
            try:
                return timm.create_model(name, patch_size=patch, **settings), f"patches of {patch} pixels, not {usual}"
            except (TypeError, RuntimeError, AssertionError):
                pass  # a hybrid or windowed transformer: it keeps its patches
        return timm.create_model(name, **settings), ""
    net = timm.create_model(name, **settings)
    return net, _fit_stem(net, size)


def _is_transformer(name: str) -> bool:
    import timm

    with torch.device("meta"):
        net = timm.create_model(name, num_classes=0)
    return hasattr(getattr(net, "patch_embed", None), "patch_size") and hasattr(net, "pos_embed")


def _fit_stem(net: Any, size: int) -> str:
    """Takes strides out of the stem until the last map is at least LAST_MAP wide; says what was done."""
    reduction = net.feature_info[-1]["reduction"] if getattr(net, "feature_info", None) else 32
    notes = []
    for name, module in _stem(net):
        if size / reduction >= LAST_MAP:
            break
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)
            notes.append(f"{name} of stride 1, not 2")
        elif isinstance(module, nn.Conv2d):  # a patchifying stem (ConvNeXt): overlapping patches, half as far apart
            module.stride = (module.stride[0] // 2, module.stride[1] // 2)
            notes.append(f"{name} of stride {module.stride[0]}, not {2 * module.stride[0]}")
        else:
            net.set_submodule(name, nn.Identity())
            notes.append(f"without {name}")
        reduction //= 2
    return "; ".join(notes)


def _stem(net: Any) -> list[tuple[str, nn.Module]]:
    """The first strided convolution, and a strided pooling at the top level: what stands before the stages."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and min(module.stride) > 1:
            found.append((name, module))
            break
    pool = getattr(net, "maxpool", None)
    if isinstance(pool, nn.MaxPool2d):
        found.append(("maxpool", pool))
    return found
