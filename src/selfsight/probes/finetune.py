"""Fine-tuning: what is the encoder worth as a start for supervised training?

A linear head is trained first while the encoder is frozen, so that a random head's gradients do not spoil the features
(Kumar, Raghunathan, Jones, Ma, Liang, "Fine-Tuning can Distort Pretrained Features", ICLR 2022); then both are trained,
the encoder with a lower rate than the head (discriminative rates: Howard, Ruder, ULMFiT, ACL 2018, section 3.2).
The head normalises its input without parameters, as features' scale differs between encoders by orders of magnitude.

Shapes: N training images, M validation images, C channels, H height, W width, D features, K classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from selfsight.errors import UserError
from selfsight.images.resample import resize_matrix, separable
from selfsight.probe import Labelled, Probe, Score, Subject
from selfsight.probes.accuracy import accuracy_scores, decide
from selfsight.probes.order import content_order
from selfsight.probes.sound import require_sound

CLOCK = 10_000
"""Parts of the time that rates tell apart, where minutes are given."""


@dataclass(frozen=True)
class FineTune(Probe):
    """Good as the last word where the encoder will be trained on anyway. Poor as a judge of the representation: enough
    labels and epochs make any start look good. Costs a training of its own; yields nothing without an encoder."""

    epochs: int = 5
    """Times all training images are seen with both parts training, >= 0."""
    minutes: float = 0.0
    """Instead of `epochs`, minutes of the clock with both parts training; two calls then differ. 0: epochs."""
    frozen_epochs: int = 1
    """Times before that, with the head alone training, >= 0."""
    least: int = 200
    """Steps at least with both parts training: on few images all epochs are multiplied; 0 keeps them as they are."""
    batch: int = 64
    """Images a step, >= 2."""
    head_rate: float = 3e-3
    """Highest learning rate of the head (AdamW)."""
    encoder_rate: float = 3e-4
    """Highest learning rate of the encoder."""
    label_smoothing: float = 0.1
    """Share of the target spread over all classes, in [0, 1)."""
    flip: bool = True
    """Mirror half of the images; switch off where left and right matter (digits, text)."""
    crop: float = 0.6
    """Smallest share of an image's sides that a random crop keeps, in (0, 1]; 1 switches cropping off."""
    restrict_to_val: bool = False
    """Predict only classes that validation holds; training is the same."""
    balanced: bool = False
    """Draw every class as often as another, with replacement, where else every image is seen once an epoch."""

    def scores(self, subject: Subject, seed: int) -> Iterator[Score]:
        if subject.build is None:
            return
        require_sound(subject)
        values = self._logits(*self.trained(subject, seed), subject.val)
        if not np.isfinite(values).all():
            raise UserError(
                f"{subject.name}: fine-tuning diverged at rates {self.head_rate:g} (head) and {self.encoder_rate:g} "
                "(encoder), and its predictions are not numbers. Give lower rates."
            )
        predicted = decide(subject, values, self.restrict_to_val)
        setting = (", val classes only" if self.restrict_to_val else "") + (", balanced" if self.balanced else "")
        epochs = f"{self._epochs(len(subject.train.labels))[1]} epochs"
        name = f"fine-tuning ({f'{self.minutes:g} minutes' if self.minutes else epochs}{setting})"
        yield from accuracy_scores(subject, name, predicted, seed)

    def _epochs(self, count: int) -> tuple[int, int]:
        """Frozen and full epochs for so many training images."""
        steps = self.epochs * max(1, len(self._starts(count)))
        factor = max(1, math.ceil(self.least / steps)) if steps else 1
        return self.frozen_epochs * factor, self.epochs * factor

    def _starts(self, count: int) -> range:
        return range(0, count - 1, self.batch)  # a last batch of one image has no variance to normalise by

    def trained(self, subject: Subject, seed: int) -> tuple[nn.Module, nn.Module]:
        """The subject's encoder and a head, trained on its training images; `subject.build` must be there."""
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):  # dropout and its like draw from torch's global generator
            torch.manual_seed(seed)
            encoder, head = self._parts(subject, generator)
            self._train(encoder, head, subject.train, generator)
        return encoder, head

    def _parts(self, subject: Subject, generator: torch.Generator) -> tuple[nn.Module, nn.Module]:
        assert subject.build is not None
        encoder: nn.Module = subject.build().requires_grad_(True).eval()
        first = _pixels(subject.train.images[:2]).to(_device(encoder))
        with torch.no_grad():
            found = encoder(first)
        if found.ndim != 2:
            raise UserError(
                f"{subject.name}: the encoder gave a result of shape {tuple(found.shape)} for {len(first)} images; "
                "(images, features) is expected. Pool its output."
            )
        linear = nn.Linear(found.shape[1], len(subject.classes))
        nn.init.trunc_normal_(linear.weight, std=0.01, generator=generator)
        nn.init.zeros_(linear.bias)
        return encoder, nn.Sequential(nn.BatchNorm1d(found.shape[1], affine=False), linear).to(first.device)

    def _train(self, encoder: nn.Module, head: nn.Module, train: Labelled, generator: torch.Generator) -> None:
        order = content_order(train)
        starts = self._starts(len(order))
        device = _device(encoder)
        for frozen, epochs in zip((True, False), self._epochs(len(order)), strict=True):
            encoder.train(not frozen)
            head.train()
            groups = [{"params": list(head.parameters()), "rate": self.head_rate}]
            if not frozen:
                groups.append({"params": list(encoder.parameters()), "rate": self.encoder_rate})
            optimizer = torch.optim.AdamW(groups, lr=self.head_rate, weight_decay=0.01)
            for step, share in _timed(self.minutes) if self.minutes and not frozen else _counted(epochs * len(starts)):
                if step % len(starts) == 0:
                    shuffled = order[self._drawn(train.labels[order], generator)]
                for group in optimizer.param_groups:
                    group["lr"] = group["rate"] * share
                which = shuffled[starts[step % len(starts)] :][: self.batch]
                images = self._augment(_pixels(train.images[which]), generator).to(device)
                with torch.set_grad_enabled(not frozen):
                    features = encoder(images)
                target = torch.from_numpy(train.labels[which].astype(np.int64)).to(device)
                loss = nn.functional.cross_entropy(head(features), target, label_smoothing=self.label_smoothing)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def _drawn(self, labels: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """The places of one epoch's images, in order."""
        if not self.balanced:
            return torch.randperm(len(labels), generator=generator).numpy()
        weights = 1 / np.bincount(labels).clip(1)[labels]
        return torch.multinomial(torch.from_numpy(weights), len(labels), True, generator=generator).numpy()

    def _augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A random crop, resized back, and a mirror image half of the time: (N, C, H, W) -> the same."""
        count, _, height, width = images.shape
        side, down, along, mirror = torch.rand(4, count, generator=generator)
        if self.flip:
            images = torch.where((mirror < 0.5)[:, None, None, None], images.flip(-1), images)
        if self.crop < 1:
            side = self.crop + (1 - self.crop) * side
            rows = resize_matrix(down * (1 - side) * height, side * height, height, height)
            columns = resize_matrix(along * (1 - side) * width, side * width, width, width)
            images = separable(images, rows, columns)
        return images

    @staticmethod
    @torch.no_grad()
    def _logits(encoder: nn.Module, head: nn.Module, val: Labelled) -> np.ndarray:
        encoder.eval()
        head.eval()
        device = _device(encoder)
        parts = [
            head(encoder(_pixels(val.images[start : start + 256]).to(device))).float().cpu()
            for start in range(0, len(val.images), 256)
        ]
        return torch.cat(parts).numpy()


def _counted(steps: int) -> Iterator[tuple[int, float]]:
    """So many steps, each with its share of the highest rate."""
    return ((step, rate_share(step, steps)) for step in range(steps))


def _timed(minutes: float) -> Iterator[tuple[int, float]]:
    """The same by the clock: as many steps as begin before the time is over, at least one."""
    began, gone, step = time.monotonic(), 0.0, 0
    while gone < 1:
        yield step, rate_share(int(CLOCK * gone), CLOCK)
        gone, step = (time.monotonic() - began) / (60 * minutes), step + 1


def rate_share(step: int, steps: int) -> float:
    """The share of the highest rate: up in a line over the first tenth, then down by a cosine to near 0."""
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _pixels(images: np.ndarray) -> Tensor:
    """(N, H, W, C) uint8 -> (N, C, H, W) float in [0, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255


def _device(module: nn.Module) -> torch.device:
    return next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
