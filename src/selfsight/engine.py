"""What drives a training: lightning-fabric for GPUs and several processes, else the same words in plain torch.

To import lightning-fabric brings torch's compiler along, and takes as long as to import torch itself. One process on a
processor has nothing to move, to scale or to exchange. A test holds both to the same bits.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from selfsight.task import Model


@runtime_checkable
class Engine(Protocol):
    """Of lightning-fabric, what is asked here."""

    @property
    def world_size(self) -> int: ...

    @property
    def global_rank(self) -> int: ...

    def to_device(self, obj: Any) -> Any: ...

    def autocast(self) -> AbstractContextManager[Any]: ...

    def setup(self, module: Any, *optimizers: Any) -> Any: ...

    def no_backward_sync(self, module: Any, enabled: bool = True) -> AbstractContextManager[Any]: ...

    def backward(self, tensor: Tensor) -> None: ...

    def clip_gradients(self, module: Any, optimizer: Any, *, max_norm: float) -> Any: ...

    def all_reduce(self, data: Any, *, reduce_op: str) -> Any: ...

    def broadcast(self, obj: Any) -> Any: ...


def engine(precision: str, rests: bool = False) -> Engine:
    """For this machine; under torchrun, one process of many. rests: see Task."""
    world, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if world == 1:
        return solitary(precision)
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    numbers: Any = precision
    strategy = "ddp_find_unused_parameters_true" if rests else "ddp"
    fabric: Any = Fabric(
        accelerator="auto", devices=local, num_nodes=world // local, strategy=strategy, precision=numbers
    )
    fabric.launch()
    return cast(Engine, fabric)


def solitary(precision: str) -> Engine:
    """One process, whatever torchrun says: what is timed needs no company."""
    if precision in Plain.PRECISIONS and not _is_accelerated():
        return Plain(precision)
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces mixed precision at each start
    numbers: Any = precision
    fabric: Any = Fabric(accelerator="auto", devices=1, precision=numbers, plugins=[LightningEnvironment()])
    return cast(Engine, fabric)


def _is_accelerated() -> bool:
    """Whether "auto" would be anything but the processor."""
    return torch.cuda.is_available() or torch.backends.mps.is_available() or find_spec("torch_xla") is not None


class Plain:
    """One process on its processor."""

    PRECISIONS = ("32-true", "bf16-mixed")
    world_size, global_rank = 1, 0

    def __init__(self, precision: str) -> None:
        self.precision = precision

    def to_device(self, obj: Any) -> Any:
        return obj

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16) if self.precision == "bf16-mixed" else nullcontext()

    def setup(self, module: Model, *optimizers: Any) -> Any:
        def wrapped(predict: Callable[[Model], dict[str, Tensor]]) -> dict[str, Tensor]:
            with self.autocast():
                predicted = module(predict)
            return {name: value.float() if value.is_floating_point() else value for name, value in predicted.items()}

        return (wrapped if self.precision == "bf16-mixed" else module, *optimizers)

    def no_backward_sync(self, module: Any, enabled: bool = True) -> AbstractContextManager[Any]:
        return nullcontext()

    def backward(self, tensor: Tensor) -> None:
        tensor.backward()

    def clip_gradients(self, module: Any, optimizer: Any, *, max_norm: float) -> Any:
        every = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        return torch.nn.utils.clip_grad_norm_(every, max_norm, error_if_nonfinite=True)

    def all_reduce(self, data: Any, *, reduce_op: str) -> Any:
        return data

    def broadcast(self, obj: Any) -> Any:
        return obj
