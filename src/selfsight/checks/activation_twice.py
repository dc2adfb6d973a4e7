"""L310: is the last activation applied twice?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.functions import Used, argument
from selfsight.instruments.reach import Unreachable
from selfsight.planted import Net, tiny
from selfsight.program import Program

FAMILIES = (
    {"sigmoid", "sigmoid_", "logsigmoid", "binary_cross_entropy_with_logits"},
    {"softmax", "log_softmax", "cross_entropy"},
    {"tanh", "tanh_"},
)
"""Functions that squash alike, the criteria that do so themselves among them. ReLU and clamp change nothing the second
time, nor does log_softmax of itself."""
IDEMPOTENT = {("log_softmax", "log_softmax"), ("log_softmax", "cross_entropy")}


@dataclass(frozen=True)
class ActivationTwice(Check):
    """Two parts of a program may each believe that the last activation is theirs: a head and its parent class.

    Detected: The torch functions between the last weights and the loss are listened to. PROVEN where what one sigmoid,
    tanh or softmax put out enters another of its kind unchanged, a criterion that applies it itself included.
    Matters: A sigmoid of a sigmoid lies between 0.5 and 0.73: most answers cannot be given, and gradients shrink by
    four and more each time.
    Cure: Leave one of the two out; with a criterion "with logits", all.
    Blind: Activations written by hand, and something done to the numbers in between.
    """

    code = "L310"
    title = "Is the last activation applied twice?"

    def look(self, case: Case) -> Iterator[Finding]:
        tail = case.tail
        if isinstance(tail, Unreachable):
            raise DoesNotApply(f"the way from the last weights to the loss cannot be followed: {tail}")
        for first, second in combinations(tail.used, 2):
            if _alike(first, second) and _handed_on(first, second):
                low, high = float(first.output.detach().min()), float(first.output.detach().max())
                yield Finding(
                    code=self.code, grade=Grade.PROVEN, cause="activation-twice", place=second.place,
                    component="model" if second.in_model else "loss",
                    sentence=f"What {first.name} put out (values {low:.3g} to {high:.3g}) goes straight into "
                    f"{second.name}, which squashes it a second time.",
                    cure=f"Leave the {first.name} at {first.place.file}:{first.place.line} out."
                    if first.place.file else f"Leave the first {first.name} out.",
                    evidence={"least": low, "greatest": high, "first": str(first.place), "second": str(second.place)},
                )  # fmt: skip
                return

    def planted(self) -> tuple[Program, Program]:
        class Squashed(Net):
            def forward(self, x: Tensor) -> Tensor:
                return torch.tanh(torch.tanh(super().forward(x)))

        class Once(Net):
            def forward(self, x: Tensor) -> Tensor:
                return torch.relu(torch.relu(super().forward(x)))

        return tiny(model=Squashed), tiny(model=Once)


def _alike(first: Used, second: Used) -> bool:
    """Whether both squash in the same way, and doing both is not the same as doing one."""
    if (first.name, second.name) in IDEMPOTENT:
        return False
    return any(first.name in family and second.name in family for family in FAMILIES)


def _handed_on(first: Used, second: Used) -> bool:
    """Whether the output of the first is, number by number, the input of the second."""
    given = argument(second, 0, "input")
    if not isinstance(given, Tensor) or not isinstance(first.output, Tensor) or given.numel() != first.output.numel():
        return False
    return bool(torch.equal(given.detach().flatten(), first.output.detach().flatten()))
