"""Faults of a momentum teacher: it stands still, moves in part, is the student, or is trained."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from doctor_programs.faults.fault import Fault, rebuilt
from doctor_programs.host import Host, changed

TAU = 0.95


def never_follow(host: Host) -> Host | None:
    """The moving average is defined, and called by nobody."""
    return changed(host, follow=lambda model: None) if host.teacher else None


def alias_teacher(host: Host) -> Host | None:
    """`teacher = student`, without a copy."""
    if host.teacher is None:
        return None

    def change(model: Any) -> None:
        model.target = model.online
        model.online.requires_grad_(True)

    return rebuilt(host, change)


def follow_weights_only(host: Host) -> Host | None:
    """Only what has 'weight' in its name follows."""
    if host.teacher is None:
        return None

    def follow(model: Any) -> None:
        student = dict(model.online.named_parameters())
        with torch.no_grad():
            for name, value in model.target.named_parameters():
                if "weight" in name:
                    value.lerp_(student[name], 1 - TAU)

    return changed(host, follow=follow)


def follow_encoder_only(host: Host) -> Host | None:
    """The teacher's projector was forgotten."""
    if host.teacher is None:
        return None

    def follow(model: Any) -> None:
        with torch.no_grad():
            pairs = zip(model.target.encoder.parameters(), model.online.encoder.parameters(), strict=True)
            for value, student in pairs:
                value.lerp_(student, 1 - TAU)

    return changed(host, follow=follow)


def train_teacher(host: Host) -> Host | None:
    """No stop-gradient, and the optimizer holds everything: student and teacher agree on a constant."""
    if host.teacher is None:
        return None

    def optimizer(model: nn.Module, rate: float) -> Optimizer:
        model.requires_grad_(True)
        return host.optimizer(model, rate)

    return changed(host, forward=with_gradient(host), optimizer=optimizer)


def no_stop_gradient(host: Host) -> Host | None:
    """The student's own projections are the targets, and nothing is detached."""
    if host.teacher is None:
        return None
    compare = with_gradient(host)

    def change(model: Any) -> None:
        model.target = model.online
        model.online.requires_grad_(True)

    return changed(rebuilt(host, change), forward=compare, follow=lambda model: None)


def with_gradient(host: Host) -> Any:
    """The host's forward without its no_grad."""
    return partial(host.forward, stop_gradient=nullcontext)


def tau_over_epoch(host: Host) -> Host | None:
    """A momentum that rises to 1 over the training gets the steps of one epoch as its length."""
    if host.teacher is None:
        return None
    length = 8

    def build() -> nn.Module:
        model: Any = host.model()
        model.steps_done = 0
        return model

    def follow(model: Any) -> None:
        model.steps_done += 1
        tau = 1 - (1 - TAU) * max(0.0, 1 - model.steps_done / length)
        with torch.no_grad():
            for value, student in zip(model.target.parameters(), model.online.parameters(), strict=True):
                value.lerp_(student, 1 - tau)

    return changed(host, model=build, follow=follow)


def fault(id: str, name: str, causes: str, inject: Any, **more: Any) -> Fault:
    return Fault(id, name, "teacher", frozenset(causes.split()), inject, **more)


FAULTS = (
    fault("F32", "no stop-gradient", "no-stop-gradient teacher-gets-gradient teacher-is-student", no_stop_gradient),
    fault(
        "F41",
        "optimizer trains the teacher",
        "teacher-gets-gradient no-stop-gradient teacher-in-optimizer",
        train_teacher,
    ),
    fault("F43b", "momentum schedule over one epoch", "teacher-never-moves", tau_over_epoch),
    fault("F48", "moving average never called", "teacher-never-moves", never_follow),
    fault("F49", "teacher is the student", "teacher-is-student", alias_teacher),
    fault("F50", "only weights follow", "teacher-partly-moves", follow_weights_only),
    fault(
        "F50b", "the teacher's projector never follows", "teacher-partly-moves teacher-never-moves", follow_encoder_only
    ),
)
