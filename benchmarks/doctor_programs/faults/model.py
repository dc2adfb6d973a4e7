"""Faults of the model: what the forward pass really reads, mixes, drops or hides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from doctor_programs.faults.fault import Fault, first_batch, mapped, override, rebuilt, reencoded
from doctor_programs.host import Batch, Host, changed

Forward = Callable[..., Any]
original: Forward = nn.Module.forward  # each notebook has these two names to itself
xb: tuple[Tensor, ...] = ()


def _edited_cell(self: nn.Module, *x: Tensor) -> Any:
    return original(self, *xb)


def has_forward(model: nn.Module) -> bool:
    """Whether the model itself is called, and not its parts by name."""
    return type(model).forward is not nn.Module.forward


def read_global(host: Host) -> Host:
    """`forward` says xb, as the cell above it does, instead of x."""
    batch, model = first_batch(host), host.model()
    called = model if has_forward(model) else model.get_submodule(host.encoder)
    seen: list[tuple[Tensor, ...]] = []
    hook = called.register_forward_pre_hook(lambda module, given: seen.append(given))
    with torch.no_grad():
        host.forward(model, batch)
    hook.remove()
    notebook = {"xb": seen[0], "original": type(called).forward}
    cell = FunctionType(_edited_cell.__code__, notebook, "forward")

    def rewrite(model: nn.Module) -> None:
        called = model if has_forward(model) else model.get_submodule(host.encoder)
        called.__class__ = type(type(called).__name__, (type(called),), {"forward": cell})

    return rebuilt(host, rewrite)


def cat_and_view(host: Host) -> Host | None:
    """Slot-major after cat, example-major in view."""
    if host.name == "unmixing":

        def encode(self: Any, original: Forward, xb: Sequence[Tensor]) -> Tensor:
            return self.encoder(torch.cat(list(xb), dim=0)).view(len(xb[0]), len(xb), -1)

        return rebuilt(host, lambda model: override(model, encode, "encode"))
    if host.views is None or host.teacher:
        return None

    def forward(model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
        slots = host.forward(model, batch)
        return torch.cat(slots).view(len(slots[0]), len(slots), -1).unbind(1)

    return changed(host, forward=forward)


def squeeze_features(host: Host) -> Host | None:
    """Also drops the batch axis of the last batch, which holds one item."""
    usual = host.loader(host.dataset(host, True), True)
    if not isinstance(usual, DataLoader):
        return None
    size = usual.batch_size or 1

    def loader(items: Sequence[Any], shuffle: bool) -> Iterable[Batch]:
        whole = (len(items) - 1) // size * size + 1
        part = Subset(items, range(len(items) - whole, len(items)))  # type: ignore[arg-type, var-annotated]
        return DataLoader(part, size, shuffle=shuffle, collate_fn=usual.collate_fn)

    def forward(self: nn.Module, original: Forward, x: Tensor) -> Tensor:
        return original(self, x).squeeze()

    return changed(reencoded(host, forward), loader=loader)


def normalise_batch_axis(host: Host) -> Host | None:
    """The right function over the wrong axis."""
    if host.name == "classifier":
        return changed(host, activation=lambda out: F.log_softmax(out, dim=0))
    if host.name in UNIT_ROWS:
        return changed(host, activation=lambda out: mapped(lambda z: F.normalize(z, dim=0), out))
    return None


UNIT_ROWS = ("simclr", "byol", "triplet")


class InAList(nn.Module):
    """Layers in a Python list, which nn.Module does not look into."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = list(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def hide_layers(host: Host) -> Host:
    def hide(model: nn.Module) -> None:
        encoder = model.get_submodule(host.encoder)
        layers = encoder.children() if isinstance(encoder, nn.Sequential) else [encoder]
        model.set_submodule(host.encoder, InAList(layers))

    return rebuilt(host, hide)


def pool_twice(host: Host) -> Host | None:
    """The features are pooled already; pooling them again leaves one number, and the head is made to fit."""
    model = host.model().eval()
    seen: list[Tensor] = []
    hook = model.get_submodule(host.encoder).register_forward_hook(lambda module, given, told: seen.append(told))
    with torch.no_grad():
        host.forward(model, first_batch(host))
    hook.remove()
    features, head = seen[0], model.get_submodule(host.head)
    linear = [(name, part) for name, part in head.named_modules() if isinstance(part, nn.Linear)]
    if features.dim() != 2 or not linear or linear[0][1].in_features % features.shape[1]:
        return None
    name, old = linear[0]
    fitting = old.in_features // features.shape[1]
    path = f"{host.head}.{name}".rstrip(".")

    def forward(self: nn.Module, original: Forward, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(original(self, x), 1)

    def change(model: nn.Module) -> None:
        override(model.get_submodule(host.encoder), forward)
        model.set_submodule(path, nn.Linear(fitting, old.out_features))

    return rebuilt(host, change)


def share_norm(host: Host) -> Host | None:
    """One norm object made before the loop that builds the layers."""

    def pair(model: nn.Module) -> tuple[str, nn.Module] | None:
        first: dict[int, nn.Module] = {}
        for name, part in model.named_modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                if part.num_features in first and type(first[part.num_features]) is type(part):
                    return name, first[part.num_features]
                first[part.num_features] = part
        return None

    if pair(host.model()) is None:
        return None

    def share(model: nn.Module) -> None:
        found = pair(model)
        assert found is not None
        model.set_submodule(found[0], found[1])

    return rebuilt(host, share)


def init_dead(host: Host) -> Host | None:
    """Zero scale in the last norm before a ReLU, or weights that are all negative: nothing passes, no gradient returns."""
    encoder = host.model().get_submodule(host.encoder)
    if not any(isinstance(part, nn.ReLU) for part in encoder.modules()):
        return None

    def init(model: nn.Module) -> None:
        inside = list(model.get_submodule(host.encoder).modules())
        norms = [part for part in inside if isinstance(part, nn.BatchNorm2d | nn.GroupNorm)]
        if norms:
            nn.init.zeros_(norms[-1].weight)
            return
        convs = [part for part in inside if isinstance(part, nn.Conv2d)]
        for conv in convs[1:]:
            nn.init.uniform_(conv.weight, -0.1, 0)
            nn.init.constant_(conv.bias, -0.1)  # type: ignore[arg-type]

    return rebuilt(host, init)


def init_constant(host: Host) -> Host:
    def init(model: nn.Module) -> None:
        for part in model.modules():
            if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.constant_(part.weight, 0.01)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    return rebuilt(host, init)


def scale_up(host: Host) -> Host | None:
    """Features multiplied instead of averaged, just before the head."""

    def forward(self: nn.Module, original: Forward, x: Tensor) -> Tensor:
        return original(self, x) * 100

    return reencoded(host, forward)


def no_grad_encoder(host: Host) -> Host:
    """Features were to be taken without gradient for the evaluation only."""

    def forward(self: nn.Module, original: Forward, x: Tensor) -> Tensor:
        with torch.no_grad():
            return original(self, x)

    return reencoded(host, forward)


def bypass_code(host: Host) -> Host | None:
    """A skip connection adds the picture itself to what is decoded."""
    if host.name != "masks":
        return None

    def forward(model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
        picture, *others = host.forward(model, batch)
        return (picture + torch.logit(batch[0], eps=1e-3), *others)

    return changed(host, forward=forward)


def fault(id: str, name: str, causes: str, inject: Any, **more: Any) -> Fault:
    return Fault(id, name, "model", frozenset(causes.split()), inject, **more)


FAULTS = (
    fault(
        "F17",
        "forward reads a global",
        "reads-a-global ignores-input",
        read_global,
        place="forward|model.py|{encoder}|xb",
    ),
    fault("F18", "cat, then view the other way round", "mixes-examples", cat_and_view, place="encode|forward|model.py"),
    fault(
        "F19", "squeeze drops a batch of one", "batch-of-one", squeeze_features, place="{encoder}|model.py", raises=True
    ),
    fault("F20", "normalised over the batch axis", "normalises-over-batch mixes-examples", normalise_batch_axis),
    fault("F21", "layers in a Python list", "hidden-parameters", hide_layers, place="{encoder}|layers"),
    fault("F22", "pooled twice", "built-wrong", pool_twice, place="{encoder}|{head}|model.py"),
    fault("F23", "one norm in two layers", "shared-norm", share_norm),
    fault("F24", "dead initialisation", "dead-units", init_dead, place="{encoder}"),
    fault("F24b", "constant initialisation", "symmetric-units", init_constant, place="{encoder}|{head}"),
    fault("F24c", "features scaled by 100", "scale-blow-up", scale_up, place="{encoder}|{head}|model.py"),
    fault("F26", "no_grad around the encoder", "detached", no_grad_encoder, place="{encoder}"),
    fault("F28", "the decoder sees past the code", "bypasses-code", bypass_code, place="{head}|model.py"),
)
