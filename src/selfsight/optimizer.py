"""How the weights move: the optimizer, its rate over time, and what is not decayed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from selfsight.adamw import AdamW
from selfsight.task import Model


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """AdamW for small batches and short trainings; LARS for batches of 1,024 and more."""

    name: Literal["adamw", "lars"] = "adamw"
    """adamw (Loshchilov and Hutter 2019) or lars (You et al. 2017, timm's)."""
    rate: float = 2e-3
    """Highest learning rate, for a step of any batch size. LARS wants about 0.3 per 256 images."""
    decay: float = 0.02
    """Weight decay; biases and normalisations are not decayed."""
    warmup: float = 0.05
    """Share of the training in which the rate rises linearly, [0, 1)."""
    floor: float = 0.0
    """Share of the highest rate that the cosine ends at, [0, 1]."""
    clip: float | None = None
    """Longest gradient, over all parameters; None does not clip."""

    def build(self, model: Model, factors: dict[str, float], light: bool = False) -> Any:
        """An optimizer over every trainable parameter of `model`; `factors` are learning-rate factors of parts.

        It is one of torch.optim's; light: where there is one that does the same with less to import, that one.
        """
        groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                part = name.split(".")[1] if name.startswith("parts.") else ""
                groups.setdefault((factors.get(part, 1.0), parameter.ndim > 1), []).append(parameter)
        described: list[dict[str, Any]] = [
            {"params": members, "factor": factor, "weight_decay": self.decay if decayed else 0.0}
            for (factor, decayed), members in groups.items()
        ]
        if self.name == "lars":
            from timm.optim import Lars

            return Lars(described, lr=self.rate, momentum=0.9)
        exact = all(parameter.dtype == torch.float32 for group in described for parameter in group["params"])
        if light and exact and hasattr(torch, "_fused_adamw_"):
            return AdamW(described, self.rate)
        return torch.optim.AdamW(described, lr=self.rate, fused=True)

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of step `step` of `steps`: linear warm-up, then a cosine to the floor."""
        rising = round(self.warmup * steps)
        if step < rising:
            return self.rate * (step + 1) / rising
        share = (step - rising) / max(1, steps - rising)
        return self.rate * (self.floor + (1 - self.floor) * (1 + math.cos(math.pi * share)) / 2)
