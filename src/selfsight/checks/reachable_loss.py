"""L301: what can this loss become at all?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.functions import ACTIVATIONS, CRITERIA, answering, argument
from selfsight.instruments.nest import leaves
from selfsight.instruments.place import Place, of_code
from selfsight.instruments.reach import Reach, Tail, Unreachable, reach
from selfsight.instruments.snapshot import still
from selfsight.planted import tiny
from selfsight.program import Program
from selfsight.swap import entering

HALF = 0.5
"""Less than half of the way from the constant answer's loss to the bare optimum is called cut off. Measured with
torch's own losses: softmax before cross-entropy reaches .34, sigmoid before BCE with logits .19, ReLU logits .57; label
smoothing is the same with and without."""
QUARTER = 0.75
"""The same where the other end is the criterion's value on its own targets. Measured: ReLU before targets of mean zero
.51, softmax before two labels of ten .68; tanh before normal targets has .85."""


@dataclass(frozen=True)
class ReachableLoss(Check):
    """No network is needed to see what a loss can become: its outputs are made free and the loss is minimised.

    Detected: The least loss with one constant output and the least with free outputs are found through the program's
    own last activation and criterion. PROVEN where free outputs are no better than a constant one (nothing to learn),
    or where the loss falls without end. MEASURED where an activation right before one of torch's criteria cuts off more
    than half of what there is to gain, or more than a quarter beside the criterion that is given its own targets.
    Matters: Such a training runs, prints falling numbers, and cannot learn, whatever the network, rate or data.
    Cure: Hand the criterion what it expects: logits without softmax or sigmoid, targets of the outputs' shape and
    range.
    Blind: A loss whose optimum is wrong but reachable, and losses that need no module with weights.
    """

    code = "L301"
    title = "Is there anything to gain between a constant answer and the best one?"

    def look(self, case: Case) -> Iterator[Finding]:
        scale, tail = case.scale, case.tail
        if isinstance(scale, Unreachable) or isinstance(tail, Unreachable):
            raise DoesNotApply(f"the loss cannot be followed from free outputs: {scale}")
        bends = [used for used in tail.used if used.name in ACTIVATIONS]
        place = bends[-1].place if bends else of_code(case.program.loss, "loss")
        if scale.free.endless:
            yield self._endless(scale, place, _flipped(case))
        elif not scale.wide:
            if any(_wide(case.scaled(batch)[0]) for batch in case.batches[1:]):
                return  # the first batch happened to have one answer for all
            if _one_answer(case):
                raise DoesNotApply("within each batch all examples have the same target")
            yield self._nothing(scale, place, [used.name for used in bends])
        elif scale.bare is not None and _share(scale) < HALF and _judged(tail):
            names = " and ".join(dict.fromkeys(used.name for used in bends))
            sentence = (
                f"Behind {names} the loss cannot fall below {scale.free.loss:.3f}, {_share(scale):.0%} of the way from "
                f"the best constant answer's {scale.constant.loss:.3f} to the {scale.bare:.3f} it reaches without."
            )
            cure = f"Leave {names} out before this criterion, or take the criterion that expects it."
            yield self._finding(Grade.MEASURED, "loss-activation-mismatch", sentence, cure, place, scale)
        elif bends and _judged(tail):
            yield from self._short(scale, _on_targets(case), place, " and ".join(dict.fromkeys(b.name for b in bends)))

    def _short(self, scale: Reach, told: float | None, place: Place, names: str) -> Iterator[Finding]:
        """Where no output comes near the criterion's value on the targets themselves."""
        if told is None or not told < scale.free.loss:
            return
        share = (scale.constant.loss - scale.free.loss) / (scale.constant.loss - told)
        if share < QUARTER:
            sentence = (
                f"Behind {names} the loss cannot fall below {scale.free.loss:.3g}, {share:.0%} of the way from the "
                f"best constant answer's {scale.constant.loss:.3g} to the {told:.3g} of the targets themselves."
            )
            cure = f"Bring the targets into the range of {names}, or take another activation."
            yield self._finding(Grade.MEASURED, "loss-activation-mismatch", sentence, cure, place, scale)

    def _endless(self, scale: Reach, place: Place, flipped: bool) -> Finding:
        sentence = f"The loss has no lowest value: larger outputs lower it for ever ({scale.free.loss:.3g} so far)."
        if flipped:
            sentence += " With its sign turned it has one."
            return self._finding(Grade.PROVEN, "sign-flipped", sentence, "Turn the loss's sign.", place, scale)
        cure = "Look at what the criterion expects: class numbers need cross-entropy, BCE takes 0 to 1."
        return self._finding(Grade.PROVEN, "wrong-loss", sentence, cure, place, scale)

    def _nothing(self, scale: Reach, place: Place, bends: list[str]) -> Finding:
        best = f"{scale.free.loss:.4g}"
        if scale.bare is not None and scale.bare < scale.free.loss - 0.1 * abs(scale.free.loss):
            names = " and ".join(dict.fromkeys(bends))
            without = f"without, {scale.bare:.4g}"
            sentence = f"Behind {names} no output gets below {best}, the best constant answer's loss; {without}."
            cure = f"Bring the targets into the range of {names}, or leave it out."
            return self._finding(Grade.PROVEN, "loss-activation-mismatch", sentence, cure, place, scale)
        sentence = (
            f"No output whatever has a lower loss than the best constant one ({best}): there is nothing to learn."
        )
        cure = "Look at the shapes and signs in the loss: outputs and targets must meet example by example."
        return self._finding(Grade.PROVEN, "nothing-to-learn", sentence, cure, place, scale)

    def _finding(self, grade: Grade, cause: str, sentence: str, cure: str, place: Place, scale: Reach) -> Finding:
        evidence = {"constant": scale.constant.loss, "free": scale.free.loss, "start": scale.start}
        evidence |= {} if scale.bare is None else {"without_activation": scale.bare}
        return Finding(
            code=self.code, grade=grade, component="loss", cause=cause, sentence=sentence, cure=cure, place=place,
            evidence=evidence,
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def numbers_as_answers(model: nn.Module, batch: Any) -> Tensor:
            return binary_cross_entropy_with_logits(model(batch[0]), batch[1].float()[:, None].expand(-1, 3))

        def smoothed(model: nn.Module, batch: Any) -> Tensor:
            return cross_entropy(model(batch[0]), batch[1], label_smoothing=0.1)

        return tiny(loss=numbers_as_answers), tiny(loss=smoothed)


def _flipped(case: Case) -> bool:
    """Whether the loss, its sign turned, has a lowest value that a constant answer does not reach."""
    try:
        turned, _ = reach(lambda model, batch: -case.loss(model, batch, None), case.model(), case.batch)
    except Unreachable:
        return False
    return turned.wide and not turned.free.endless


def _wide(scale: Reach | Unreachable) -> bool:
    return isinstance(scale, Reach) and scale.wide


def _one_answer(case: Case) -> bool:
    """Whether every leaf that could be a target is the same for all examples of a batch, as with sorted classes."""
    inside = entering(case, case.batch)
    held = [leaves(batch) for batch in case.batches]
    others = [leaf for each in held for path, leaf in each.items() if path not in inside and leaf.ndim]
    return bool(others) and all(bool((leaf == leaf[:1]).all()) for leaf in others)


def _judged(tail: Tail) -> bool:
    """Whether what the last activation puts out goes straight into one of torch's criteria. Masks and the like are
    bounded because they are meant to be, whatever the loss could gain without."""
    for place, bend in enumerate(tail.used):
        for later in tail.used[place + 1 :]:
            given = argument(later, 0, "input")
            if bend.name in ACTIVATIONS and later.name in CRITERIA and isinstance(given, Tensor):
                made = bend.output
                if isinstance(made, Tensor) and made.numel() == given.numel():
                    return bool(torch.equal(made.detach().flatten(), given.detach().flatten()))
    return False


def _on_targets(case: Case) -> float | None:
    """The loss when torch's element-wise criteria are given their own targets as answers; None where there are none."""
    model = case.model()
    with still(model), torch.no_grad(), answering() as answered:
        loss = float(case.loss(model, case.batch))
    return loss if answered and math.isfinite(loss) else None


def _share(scale: Reach) -> float:
    assert scale.bare is not None
    room = scale.constant.loss - min(scale.bare, scale.free.loss)
    return (scale.constant.loss - scale.free.loss) / room if room > 0 else torch.inf
