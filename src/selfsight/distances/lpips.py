"""LPIPS: likeness as people judge it, read from a VGG network that was taught on ImageNet.

Zhang, Isola, Efros, Shechtman, Wang 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
section 3 and appendix B (https://github.com/richzhang/PerceptualSimilarity): five maps of VGG16, unit vectors, squared
differences, channels weighted by what people's judgements taught.

Nothing is fetched: both files have to be there. `vgg` is torchvision's vgg16-397923af.pth
(https://download.pytorch.org/models/vgg16-397923af.pth, 528 MB, of which the 59 MB of `features.*` are read); `linear`
is the authors' lpips/weights/v0.1/vgg.pth (7 KB, in the package `lpips`).

Shapes: N pictures, K answers to each, C channels (1 or 3), s side.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from selfsight.distance import Distance, Gauge
from selfsight.encoder import Encoder
from selfsight.errors import UserError
from selfsight.maths.distances import maps_apart, unit_maps
from selfsight.places import anchor, mark_of

CUTS = (0, 4, 9, 16, 23, 30)
"""Layers of torchvision's `features` at whose ends the five maps are taken: relu1_2, 2_2, 3_3, 4_3, 5_3."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, as the network was taught with."""


@dataclass(frozen=True, kw_only=True)
class LPIPS(Distance):
    """Good: photographs of what ImageNet shows. Poor: slow without a GPU, and taught with a million outside images."""

    vgg: str = ""
    """File with torchvision's VGG16 weights."""
    linear: str | None = None
    """File with the authors' five linear layers; without it every channel counts the same, as their "baseline" does."""

    def __post_init__(self) -> None:
        anchor(self, "vgg", "linear")

    def reads(self) -> str:
        files = [path for path in (self.vgg, self.linear) if path and Path(path).is_file()]
        return " ".join(map(mark_of, files))

    def build(self, channels: int, encoder: Encoder | None = None) -> Gauge:
        from torchvision.models import vgg

        net = vgg.make_layers(vgg.cfgs["D"], batch_norm=False)[: CUTS[-1]]
        wanted = {f"features.{name}" for name in net.state_dict()}
        read = _read(self.vgg, wanted)
        net.load_state_dict({name.removeprefix("features."): read[name] for name in wanted})
        weights = None
        if self.linear:
            names = [f"lin{number}.model.1.weight" for number in range(len(CUTS) - 1)]
            read = _read(self.linear, set(names))
            weights = [read[name].flatten() for name in names]
        return _LPIPS(net, weights)


def _read(path: str, wanted: set[str]) -> dict[str, Tensor]:
    """The tensors of a file of weights; nothing else in it is unpickled."""
    if not path or not Path(path).is_file():
        raise UserError(
            f"LPIPS needs weights, and there is no file {path!r}: set vgg to torchvision's vgg16-397923af.pth and "
            "linear to the authors' vgg.pth, once downloaded, or take the distance Features, which needs none."
        )
    try:
        read = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} is not a file of torch weights ({type(error).__name__}): download it again."
        ) from error
    missing = sorted(wanted - set(read if isinstance(read, dict) else ()))
    if missing:
        raise UserError(f"{path} has no {missing[0]}: give torchvision's vgg16-397923af.pth or the authors' vgg.pth.")
    return read


class _LPIPS(Gauge):
    def __init__(self, net: nn.Sequential, weights: list[Tensor] | None) -> None:
        super().__init__()
        for layer in net:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        self.net = net.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))
        self.mean: Tensor
        self.std: Tensor
        self.weights = nn.ParameterList([nn.Parameter(w, requires_grad=False) for w in weights]) if weights else None

    def forward(self, answers: Tensor, truth: Tensor) -> Tensor:
        return maps_apart(self._maps(answers.flatten(0, 1)), self._maps(truth), list(self.weights or ()) or None)

    def _maps(self, pictures: Tensor) -> list[Tensor]:
        """All five maps; fewer for pictures under 16 pixels, which end as one pixel before the last."""
        x = (pictures.expand(-1, 3, -1, -1) - self.mean) / self.std
        made = []
        for start, stop in pairwise(CUTS):
            if start and x.shape[-1] < 2:
                break
            x = self.net[start:stop](x)
            made.append(x)
        return unit_maps(made)
