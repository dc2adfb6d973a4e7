"""An encoder is what you keep: pixels in, one vector an image out.

`Backbone` is its frozen description; `build()` makes the network. An `Encoder` takes pixels in [0, 1] and scales them
itself, so that saved weights mean the same wherever they are loaded.

Shapes: N images, C channels, S side, D embedding.
"""

from __future__ import annotations

import abc
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.errors import UserError


@dataclass(frozen=True)
class Loaded:
    """What became of the weights that were asked for."""

    path: str
    keys: int
    """Tensors the network has."""
    keys_matched: int
    """Those of them that the file filled."""
    parameters: int
    parameters_matched: int
    missing: tuple[str, ...]
    """Tensors the file did not fill, or filled with another shape."""
    unused: tuple[str, ...]
    """Tensors of the file that the network has no place for."""

    @property
    def whole(self) -> bool:
        return self.keys_matched == self.keys

    def __str__(self) -> str:
        text = (
            f"weights from {self.path}: {self.keys_matched} of {self.keys} tensors matched "
            f"({self.parameters_matched / max(1, self.parameters):.1%} of the parameters)"
        )
        if self.missing:
            text += f"; not filled: {_some(self.missing)}"
        if self.unused:
            text += f"; not used: {_some(self.unused)}"
        return text


class Encoder(nn.Module):
    """A network with its pixel scaling and its true feature dimension."""

    def __init__(
        self,
        net: nn.Module,
        *,
        channels: int,
        size: int,
        mean: float | tuple[float, ...] = 0.5,
        std: float | tuple[float, ...] = 0.25,
        note: str = "",
    ) -> None:
        super().__init__()
        self.net = net
        self.channels = channels
        self.size = size
        self.note = note
        self.loaded: Loaded | None = None
        self.mean: Tensor
        self.std: Tensor
        for name, value in (("mean", mean), ("std", std)):
            values = value if isinstance(value, tuple) else (value,) * channels
            self.register_buffer(name, torch.tensor(values).view(1, channels, 1, 1))
        self.dim = self._measure()

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, S, S) float in [0, 1] -> (N, D)."""
        return self.net(self._scaled(images))

    def _scaled(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise ValueError(f"this encoder takes (N, {self.channels}, H, W) images, not {tuple(images.shape)}")
        return (images - self.mean).div_(self.std)  # in place: one array of the batch's size less

    def with_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding as `forward` gives it, and the last map behind it: (N, C, S, S) -> ((N, D), (N, M, h, w)).

        A transformer's tokens are laid out as a map. Where a network has none, the map is the embedding, 1 x 1.
        """
        if not hasattr(self.net, "forward_features"):
            z = self(images)
            return z, z[:, :, None, None]
        net: Any = self.net
        features = net.forward_features(self._scaled(images))
        z = net.forward_head(features)
        return z, _as_map(features, net.num_features, getattr(net, "num_prefix_tokens", 0), z)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The map behind each stage, fine to coarse: (N, C, S, S) -> tensors (N, M, h, w).

        Where a network does not tell its stages apart, the one map of `with_map`.
        """
        if not hasattr(self.net, "forward_intermediates"):
            return [self.with_map(images)[1]]
        net: Any = self.net
        return list(net.forward_intermediates(self._scaled(images), intermediates_only=True))

    def _measure(self) -> int:
        """The length of the vector that really comes out, which a backbone's attributes do not always tell."""
        training = self.training
        self.eval()
        with torch.no_grad():
            out = self(torch.zeros(1, self.channels, self.size, self.size))
        self.train(training)
        if out.ndim != 2:
            raise UserError(
                f"This backbone gives {tuple(out.shape)} for one image, not one vector: choose another --encoder."
            )
        return out.shape[1]


class Backbone(abc.ABC):
    """Finals are frozen dataclasses in `encoders/`."""

    @abc.abstractmethod
    def build(self, channels: int, size: int, seed: int = 0) -> Encoder:
        """A fresh encoder for (channels, size, size) images, its random weights a function of `seed` alone.

        Raises UserError where the backbone cannot take such images or its weights do not match.
        """


def _as_map(features: Tensor, channels: int, prefix: int, z: Tensor) -> Tensor:
    """(N, M, h, w) of whatever a backbone of `channels` calls its features; the embedding `z` where they are no map."""
    if features.ndim == 3:
        tokens = features[:, prefix:]
        side = math.isqrt(tokens.shape[1])
        return tokens.transpose(1, 2).unflatten(2, (side, side)) if side**2 == tokens.shape[1] else z[:, :, None, None]
    if features.ndim == 4:
        last = features.shape[-1] == channels and features.shape[1] != channels
        return features.permute(0, 3, 1, 2) if last else features
    return z[:, :, None, None]


def without_weights(backbone: Backbone) -> Backbone:
    """The same backbone with random weights: what an untrained baseline is built from."""
    given: Any = backbone
    return replace(given, weights=None) if getattr(backbone, "weights", None) else backbone


def open_branches(net: nn.Module) -> None:
    """Sets normalisations that start at zero to one, in place.

    Residual networks often start the last normalisation of each block at zero, so that every block begins as the
    identity. An untrained network is then nearly blind (Fashion-MNIST, small encoder, kNN: 54 % with zeros, 75 % with
    ones), and beside it every trained one would look better than it is.
    """
    for module in net.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim == 1 and not weight.any():
            nn.init.ones_(weight)


def load_weights(net: nn.Module, tensors: dict[str, Tensor], path: str, partial: bool = False) -> Loaded:
    """Fills `net` from `tensors` by name and tells how much matched.

    Names may carry a prefix ("encoder.net.", "backbone.", "module." ...): the prefix under which most names match is
    taken off. Raises UserError where less than the whole network is filled, unless `partial`; and always where nothing
    is.
    """
    own = net.state_dict()
    prefixes = {""} | {key[: -len(name)] for key in tensors for name in own if key.endswith("." + name)}
    prefix = max(sorted(prefixes), key=lambda p: sum(p + name in tensors for name in own))
    found = {
        name: tensors[prefix + name]
        for name, value in own.items()
        if prefix + name in tensors and tensors[prefix + name].shape == value.shape
    }
    weights = {name: value.numel() for name, value in net.named_parameters()}
    loaded = Loaded(
        path=path,
        keys=len(own),
        keys_matched=len(found),
        parameters=sum(weights.values()),
        parameters_matched=sum(count for name, count in weights.items() if name in found),
        missing=tuple(name for name in own if name not in found),
        unused=tuple(key for key in tensors if key.removeprefix(prefix) not in found),
    )
    if not found or not (loaded.whole or partial):
        raise UserError(
            f"Only part of the encoder would be loaded: {loaded}. Give weights of the same encoder, or "
            "--encoder.partial true."
        )
    net.load_state_dict(found, strict=False)
    return loaded


def read_weights(path: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the description in a safetensors file, or in a run's folder. Nothing is unpickled."""
    from safetensors import SafetensorError, safe_open

    file = Path(path) / "encoder.safetensors" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise UserError(f"There are no weights at {path}: give a .safetensors file, or a run that has been saved.")
    try:
        with safe_open(file, framework="pt") as handle:
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
            described = (handle.metadata() or {}).get("selfsight")
    except SafetensorError as error:
        raise UserError(
            f"{file} is not a safetensors file ({error}). Other formats can hide code and are not read."
        ) from error
    return tensors, json.loads(described) if described else {}


def filled(backbone: Backbone, tensors: dict[str, Tensor], described: dict[str, Any], path: str) -> Encoder:
    """The encoder that weights from `path` were written of, as `described` beside them. In eval mode, frozen."""
    encoder = backbone.build(described["channels"], described["size"])
    try:
        encoder.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(
            f"The weights in {path} do not fit their encoder ({str(error).splitlines()[1].strip()}): they were "
            "written by another version."
        ) from error
    return encoder.eval().requires_grad_(False)


def _some(names: tuple[str, ...], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
