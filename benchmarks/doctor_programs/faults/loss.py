"""Faults of the loss: wirings whose best answer is not the one that is wanted, or cannot be reached."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from doctor_programs.faults.fault import Fault, last_linear, mapped, override, rebuilt
from doctor_programs.faults.model import UNIT_ROWS
from doctor_programs.host import Batch, Host, changed, same

CLASSES = ("classifier", "rotation")


def answer(host: Host, batch: Batch) -> Tensor:
    """The batch's answers."""
    assert host.target is not None
    return host.target.get(batch)


def ids_into_bce(host: Host) -> Host | None:
    """The default loss of the learner, kept for class ids and one output unit."""
    if host.name == "unmixing":  # the share of a, cut into 20 classes
        target = partial(_share_class, host)
    elif host.name in CLASSES:
        target = partial(answer, host)
    else:
        return None

    def one_unit(model: nn.Module) -> None:
        head = model.get_submodule(host.head)
        found = last_linear(head)
        assert found is not None
        model.set_submodule(f"{host.head}.{found[0]}".rstrip("."), nn.Linear(found[1].in_features, 1))

    def criterion(told: Tensor, batch: Batch) -> Tensor:
        return F.binary_cross_entropy_with_logits(told[:, 0], target(batch).float())

    return changed(rebuilt(host, one_unit), activation=same, criterion=criterion)


def _share_class(host: Host, batch: Batch) -> Tensor:
    return (answer(host, batch) * 20).long()


def activate_twice(host: Host) -> Host | None:
    """Once in the head, and once in the class above it."""
    if host.name not in ("unmixing", "masks"):
        return None
    return changed(host, activation=lambda out: host.activation(host.activation(out)))


def softmax_into_ce(host: Host) -> Host | None:
    if host.name not in CLASSES:
        return None
    return changed(
        host,
        activation=lambda out: torch.softmax(out, dim=1),
        criterion=lambda told, batch: F.cross_entropy(told, answer(host, batch)),
    )


def cosine_logits(host: Host) -> Host | None:
    """Unit features against unit class vectors, compared at T = 1."""
    if host.name == "simclr":
        return changed(host, criterion=partial(host.criterion, temperature=1.0))
    if host.name not in CLASSES:
        return None

    def forward(self: Any, original: Any, x: Tensor) -> Tensor:
        return F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))

    def change(model: nn.Module) -> None:
        found = last_linear(model.get_submodule(host.head))
        assert found is not None
        override(found[1], forward)

    return rebuilt(host, change)


def flip_sign(host: Host) -> Host:
    """Something to be maximised is minimised."""
    return changed(host, criterion=lambda told, batch: -host.criterion(told, batch))


def keep_self(host: Host) -> Host | None:
    """NT-Xent whose candidates hold the picture itself."""
    if host.name != "simclr":
        return None

    def criterion(told: tuple[Tensor, Tensor], batch: Batch) -> Tensor:
        both, n = torch.cat(told), len(told[0])
        sim = both @ both.t() / 0.2
        return F.cross_entropy(sim, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]))

    return changed(host, criterion=criterion)


def interleave_positives(host: Host) -> Host | None:
    """The mask of positives supposes v1 v2 v1 v2 ..., the embeddings come as v1 v1 ... v2 v2 ..."""
    if host.name != "simclr":
        return None

    def criterion(told: tuple[Tensor, Tensor], batch: Batch) -> Tensor:
        both = torch.cat(told)
        n = len(both)
        sim = (both @ both.t() / 0.2).masked_fill(torch.eye(n, dtype=torch.bool), float("-inf"))
        return F.cross_entropy(sim, torch.arange(n) ^ 1)

    return changed(host, criterion=criterion)


def whole_tensor(host: Host) -> Host | None:
    """l2_normalize without an axis."""
    if host.name not in UNIT_ROWS:
        return None
    return changed(host, activation=lambda out: mapped(lambda z: z / z.norm(), out))


def kl_on_probabilities(host: Host) -> Host | None:
    if host.name not in CLASSES:
        return None

    def criterion(told: Tensor, batch: Batch) -> Tensor:
        wanted = F.one_hot(answer(host, batch), told.shape[1]).float()
        return F.kl_div(told, wanted, reduction="batchmean")

    return changed(host, activation=lambda out: torch.softmax(out, dim=1), criterion=criterion)


def rebuilt_from_item(host: Host) -> Host:
    def criterion(told: Any, batch: Batch) -> Tensor:
        return torch.tensor(host.criterion(told, batch).item(), requires_grad=True)

    return changed(host, criterion=criterion)


def swap_pairs(host: Host) -> Host | None:
    """The 0 and 1 of similar and different the other way round."""
    if host.name != "triplet":
        return None
    return changed(host, criterion=lambda told, batch: host.criterion((told[0], told[2], told[1]), batch))


def drop_variance(host: Host) -> Host | None:
    """VICReg without its variance term, or a KL summed over everything beside a mean of squares."""
    if host.name == "vicreg":
        return changed(host, criterion=partial(host.criterion, mu=0.0))
    if host.name == "masks":
        return changed(host, criterion=partial(host.criterion, gather=torch.sum))
    return None


def masks_apart(host: Host) -> Host | None:
    """Each mask is to differ from nothing and from the sum of those before: full and empty in turn are the best answer."""
    if host.name != "masks":
        return None

    def criterion(told: tuple[Tensor, ...], batch: Batch) -> Tensor:
        masks, apart = told[1], torch.zeros(())
        before = torch.zeros_like(masks[:, 0])
        for k in range(masks.shape[1]):
            apart = apart + torch.exp(-5 * masks[:, k] ** 2).mean() + torch.exp(-5 * (masks[:, k] - before) ** 2).mean()
            before = before + masks[:, k]
        return host.criterion(told, batch) + apart

    return changed(host, criterion=criterion)


def ignore_targets(host: Host) -> Host | None:
    """The prediction is compared with itself, a slip of the pen."""
    if host.name not in CLASSES:
        return None
    return changed(host, criterion=lambda told, batch: F.cross_entropy(told, told.argmax(dim=1)))


def fault(id: str, name: str, causes: str, inject: Any, **more: Any) -> Fault:
    return Fault(id, name, "loss", frozenset(causes.split()), inject, **more)


FAULTS = (
    fault("F13", "class ids into BCE with logits", "wrong-loss", ids_into_bce),
    fault("F15", "pair convention flipped", "pair-signs sign-flipped", swap_pairs),
    fault("F25", "activation twice", "activation-twice loss-activation-mismatch", activate_twice),
    fault("F29", "softmax into cross entropy", "loss-activation-mismatch activation-twice", softmax_into_ce),
    fault("F30", "cosine logits at T = 1", "temperature", cosine_logits),
    fault("F31", "sign flipped", "sign-flipped", flip_sign),
    fault("F33", "self not masked", "pair-signs", keep_self),
    fault("F33b", "positives in the wrong order", "pair-signs", interleave_positives),
    fault("F34", "whole tensor normalised", "whole-tensor-normalise", whole_tensor),
    fault("F35", "KL on probabilities", "log-missing wrong-loss", kl_on_probabilities),
    fault("F36", "variance term off, or KL summed", "term-balance degenerate-optimum", drop_variance),
    fault("F37", "full and empty masks are the optimum", "degenerate-optimum", masks_apart),
    fault("F38", "loss rebuilt from item", "gradient-cut", rebuilt_from_item),
    fault("F38b", "prediction compared with itself", "ignores-targets", ignore_targets),
)
