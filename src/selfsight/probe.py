"""A probe asks what a representation is worth, and answers with a number that carries its uncertainty.

Every subject of one evaluation (the trained encoder, the same encoder untrained, raw pixels, hand-made features) is
judged on the same images in the same order, so two of them can be compared image by image.

Shapes: N training images, M validation images, D features.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from selfsight.images.picked import Images


@dataclass(frozen=True)
class Labelled:
    """Some labelled images as one subject sees them."""

    features: np.ndarray
    """(N, D) float32."""
    labels: np.ndarray
    """(N,) int64 codes into `Subject.classes`."""
    images: Images
    """(N, H, W, C) uint8, for probes that train on pixels; an array, a memory map, or some of its rows."""


@dataclass(frozen=True)
class Subject:
    """A representation under examination."""

    name: str
    """"trained", "untrained", "pixels", "hand-made" or "supervised"."""
    train: Labelled
    val: Labelled
    classes: tuple[str, ...]
    """Class names; a label is a place in this tuple."""
    build: Callable[[], Any] | None = None
    """A fresh encoder module with this subject's weights, for probes that train it; None where there is none."""


@dataclass(frozen=True)
class Score:
    """One number, how sure it is, and the per-image values it is the mean of."""

    subject: str
    probe: str
    """The probe's name with the settings that matter, e.g. "kNN (k=20)"."""
    metric: str
    """"accuracy", "balanced accuracy", "NMI", "ARI", "recall@1", "mAP" ..."""
    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    n: int
    """Number of validation images (or queries, or draws) behind the value."""
    seed: int
    """Seed of the bootstrap and of every draw the probe made."""
    each: np.ndarray | None = field(default=None, repr=False, compare=False)
    """(n,) per-image values whose mean is `value`, in validation order; None where there are none (NMI, ARI)."""
    predicted: np.ndarray | None = field(default=None, repr=False, compare=False)
    """(n,) predicted class codes, where the probe classifies."""


class Probe(abc.ABC):
    """Finals are frozen dataclasses in `probes/`."""

    @abc.abstractmethod
    def scores(self, subject: Subject, seed: int) -> Iterator[Score]:
        """Yields this probe's scores of `subject`; nothing where it does not apply (no encoder to fine-tune, say)."""
