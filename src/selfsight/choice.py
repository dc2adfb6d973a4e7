"""Which pictures of an image are compared: those that the encoder, as it is now, finds most different.

A pair that is alike already teaches nothing, and one that no encoder could know for the same teaches the wrong thing:
which of both holds here is for `benchmarks/imagined_views.py` to say. The choice is made by a first pass without
gradients or dropout, in the batch's own statistics and none that are gathered: so it changes nothing, and is the same
when it is made again.

Shapes: N images, V pictures of each, C channels, H W side, D embedding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.batch import Example
from selfsight.maths.contrast import farthest
from selfsight.view import ViewSource, named


def compared(
    source: ViewSource, encoder: nn.Module, parts: nn.ModuleDict, example: Example
) -> tuple[Tensor, dict[str, Tensor]]:
    """The pictures to be compared (N, V, C, H, W), two where the source asks for the most different; and for the
    prediction which these are where some were chosen, {"shown": (N, V) places}, or nothing."""
    pictures, more = source.pictures(parts, example)
    if source.choose == "most_different" and pictures.shape[1] > 2:
        with looking(encoder), torch.no_grad():
            z = F.normalize(encoder(pictures.flatten(0, 1)).float(), dim=1).unflatten(0, pictures.shape[:2])
        pair = farthest(z, with_first="image first" in example.extras)
        rows = torch.arange(len(pair), device=pair.device)[:, None]
        return pictures[rows, pair], {**more, "shown": pair.float()}
    return pictures, more


@contextlib.contextmanager
def looking(net: nn.Module) -> Iterator[None]:
    """In the block dropout rests, and batch statistics are neither gathered nor, in training, read from those gathered;
    after it each module is as it was."""
    modes = [(module, module.training, getattr(module, "track_running_stats", None)) for module in net.modules()]
    net.eval()
    for module, training, tracks in modes:
        if tracks:
            module.training = training
            setattr(module, "track_running_stats", False)  # noqa: B010
    try:
        yield
    finally:
        for module, training, tracks in modes:
            module.training = training
            if tracks is not None:
                setattr(module, "track_running_stats", tracks)  # noqa: B010


def apart(z: Tensor, v: int, suffix: str = "") -> dict[str, Tensor]:
    """(N V, P), the V pictures of an image in a row -> {"first": (N, P), "second": (N, P), ...}."""
    return {named(i) + suffix: z[i::v] for i in range(v)}


def together(prediction: Mapping[str, Tensor], suffix: str = "") -> Tensor:
    """Back: the V pictures of each image that a prediction names -> (N, V, P) float32 or better."""
    found = list[Tensor]()
    while (name := named(len(found)) + suffix) in prediction:
        found.append(prediction[name])
    z = torch.stack(found, 1)
    return z.to(torch.promote_types(z.dtype, torch.float32))


def weight_of(prediction: Mapping[str, Tensor], example: Example) -> Tensor | None:
    """(N, V), of the pictures that were compared; None where all count alike."""
    weight = example.extras.get("weight")
    if weight is None or "shown" not in prediction:
        return weight
    shown = prediction["shown"].detach().long().clamp(0, weight.shape[1] - 1)
    return weight.to(shown.device).gather(1, shown)
