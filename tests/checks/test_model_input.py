"""M202 and M203 on programs as people write them: inputs that are ignored, shapes that are right by luck, and odd ones that are well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from asking import found
from nets import CHECKS, DATA, Made, alarms, encoder, made, mlp, pairs, two
from torch import Tensor, nn
from torch.utils.data import DataLoader

from selfsight.case import examining
from selfsight.checks.ignored_input import IgnoredInput
from selfsight.checks.shape_honesty import ShapeHonesty
from selfsight.planted import Quarters, batches, tiny
from selfsight.program import Program


def tokens(x: Tensor) -> Tensor:
    return x.flatten(1).unflatten(1, (8, 8))  # (N, T, D)


# ------------------------------------------------------------------------------------------------- M202: ignoring

xb = DATA.pictures[:16]
MEAN, TABLE = torch.tensor(0.25), torch.randn(64, generator=torch.Generator().manual_seed(0))


def helper(x: Tensor) -> Tensor:
    return xb[: len(x)].flatten(1)


class ByHelper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(64, 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(helper(x))


class Notebook(ByHelper):
    def forward(self, *x: Tensor) -> Tensor:
        return self.body(torch.stack([part.flatten() for part in xb])[: len(x[0])])


def closing() -> nn.Module:
    batch = DATA.pictures[16:32]

    class Closure(ByHelper):
        def forward(self, x: Tensor) -> Tensor:
            return self.body(batch[: len(x)].flatten(1))

    return Closure()


class Forgetful(ByHelper):
    def forward(self, x: Tensor) -> Tensor:
        return self.body(torch.zeros_like(x).flatten(1))


class OneOfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp(64, 8), nn.Linear(16, 1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(torch.cat([self.body(left.flatten(1)), self.body(left.flatten(1))], 1))


class BothOfTwo(OneOfTwo):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(torch.cat([self.body(left.flatten(1)), self.body(right.flatten(1))], 1))


def nearer(model: nn.Module, batch: Any) -> Tensor:
    return F.mse_loss(model(*batch)[:, 0], (batch[0] - batch[1]).mean((1, 2, 3)))


def auto(model: Any, batch: Any) -> Tensor:
    return torch.sigmoid(model(batch[0]))


def auto_bypassed(model: Any, batch: Any) -> Tensor:
    return torch.sigmoid(model(batch[0]) + torch.logit(batch[0], eps=1e-3))


def grey() -> Iterator[tuple[Tensor, Tensor]]:
    for rows in torch.randperm(64).split(16):
        x = DATA.pictures[rows].sigmoid()
        yield x, x + 0.2 * torch.randn_like(x)


def autoencoder(predict: Callable[..., Tensor]) -> Program:
    def criterion(said: Tensor, batch: Any) -> Tensor:
        return F.mse_loss(said, batch[0])

    return tiny(
        batches=grey,
        model=lambda: nn.Sequential(nn.Flatten(), mlp(64, 4, 64), nn.Unflatten(1, (1, 8, 8))),
        predict=predict,
        criterion=criterion,
        loss=lambda model, batch: criterion(predict(model, batch), batch),
    )


DEAF = {
    "a notebook's xb": (tiny(model=Notebook), "model/reads-a-global", "xb"),
    "a helper that reads a global": (tiny(model=ByHelper), "model/reads-a-global", "xb"),
    "a variable of the function around": (tiny(model=closing), "model/reads-a-global", "batch"),
    "overwritten by zeros": (tiny(model=Forgetful), "model/ignores-input", "x"),
    "one of two pictures": (two(nearer, OneOfTwo), "model/ignores-input", "right"),
    "the decoder sees the picture": (autoencoder(auto_bypassed), "model/bypasses-code", "predict"),
}


@pytest.mark.parametrize("name", DEAF)
def test_ignored(name: str) -> None:
    program, wanted, where = DEAF[name]
    (one,) = found(IgnoredInput(), program)
    assert f"{one.component}/{one.cause}" == wanted
    assert where in one.place.name and one.place.file == __file__


class Asked(nn.Module):
    """What enters its forward is a question: the pictures are first met one module further in."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, ask: Callable[[Any], Tensor]) -> Tensor:
        return ask(self)


class Deaf(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(DATA.pictures[: len(x)])


@pytest.mark.parametrize(("net", "causes"), [(nn.Sequential, []), (Deaf, ["model/ignores-input"])])
def test_a_root_that_is_asked_a_question(net: Callable[..., nn.Module], causes: list[str]) -> None:
    program = tiny(
        model=lambda: Asked(net(nn.Flatten(), nn.Linear(64, 3))),
        loss=lambda model, batch: F.cross_entropy(model(lambda own: own.net(batch[0])), batch[1]),
    )
    with examining(program) as case:
        assert [f"{one.component}/{one.cause}" for one in IgnoredInput().ask(case)] == causes


def test_the_line_that_reads_it() -> None:
    (one,) = found(IgnoredInput(), tiny(model=ByHelper))
    with open(__file__) as source:
        assert "xb[: len(x)].flatten(1)" in source.readlines()[one.place.line - 1]
    assert torch.equal(xb, DATA.pictures[:16])


class Zeroed(nn.Module):
    """Zero-initialised last layer: at first the output is 0 whatever comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = encoder(), nn.Linear(16, 3)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, unused: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        return self.head(self.body((x - MEAN) * TABLE.sign().abs().view(8, 8)))


class Positions(nn.Module):
    """Takes only the number of tokens from what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.table.expand_as(x)


def by_parts(model: Any, batch: Any) -> Tensor:
    h = model["stem"](tokens(batch[0]))
    return F.cross_entropy(model["head"]((h + model["where"](h)).flatten(1)), batch[1])


def denoise(model: Any, batch: Any) -> Tensor:
    return batch[1] + model(batch[1])


LISTENING = {
    "zeros at the start, constants outside": tiny(model=Zeroed),
    "an argument that is not needed": tiny(
        model=Zeroed, loss=lambda m, b: F.cross_entropy(m(b[0], b[1], torch.ones(len(b[1]))), b[1])
    ),
    "positions, called by parts": tiny(
        model=lambda: nn.ModuleDict({"stem": nn.Linear(8, 8), "where": Positions(), "head": nn.Linear(64, 3)}),
        loss=by_parts,
    ),
    "both of two pictures": two(nearer, BothOfTwo),
    "an auto-encoder": autoencoder(auto),
    "a residual denoiser": autoencoder(denoise),
    "one batch only": tiny(batches=lambda: [(DATA.pictures, DATA.labels)]),
}


@pytest.mark.parametrize("name", LISTENING)
def test_not_ignored(name: str) -> None:
    for check in CHECKS:
        assert alarms(check, LISTENING[name]) == [], check.code


# --------------------------------------------------------------------------------------------------- M203: shapes


def pooled() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))


def squeezed(net: Any, x: Tensor) -> Tensor:
    return net.head(net.body(x).squeeze())


def stacked(net: Any, x: Tensor, y: Tensor) -> Tensor:
    return net.head(torch.stack([net.body(one).squeeze() for one in (x, y)], 1).flatten(1))


def pooled_again(net: Any, x: Tensor) -> Tensor:
    return net.head(net.pool(net.body(x).transpose(1, 3)).flatten(1))


def pooled_as_channels(net: Any, x: Tensor) -> Tensor:
    return net.head(net.pool(net.body(x).flatten(1)))


def both_pools(net: Any, x: Tensor) -> Tensor:
    h = net.body(x)
    return net.head(torch.cat([F.adaptive_avg_pool2d(h, 1), F.adaptive_max_pool2d(h, 1)], 1).flatten(1))


def no_op_pool(net: Any, x: Tensor) -> Tensor:
    return net.head(net.pool(net.body(x)).flatten(1))


def attended(net: Any, x: Tensor) -> Tensor:
    h = net.body(x)
    gate = net.gate(F.adaptive_avg_pool2d(h, 1))
    return net.head((h * gate.sigmoid()).mean((2, 3)))


SHAPES = {
    "squeeze()": (
        tiny(model=made(squeezed, body=pooled, head=lambda: nn.Linear(8, 3)), batches=lambda: batches(Quarters(49))),
        "model/batch-of-one",
    ),
    "squeeze() of one encoder for two": (
        two(
            lambda m, b: m(*b).square().mean(),
            made(stacked, body=pooled, head=lambda: nn.Linear(16, 3)),
            batches=lambda: pairs(21),
        ),
        "model/batch-of-one",
    ),
    "pooled twice": (
        tiny(model=made(pooled_again, body=pooled, pool=lambda: nn.AdaptiveAvgPool2d(1), head=lambda: nn.Linear(1, 3))),
        "model/built-wrong",
    ),
    "pooled over features": (
        tiny(
            model=made(
                pooled_as_channels, body=pooled, pool=lambda: nn.AdaptiveAvgPool1d(1), head=lambda: nn.Linear(1, 3)
            )
        ),
        "model/built-wrong",
    ),
    "an embedding without features": (tiny(embed=lambda m, b: m(b[0]).mean(1)), "model/built-wrong"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    program, wanted = SHAPES[name]
    assert alarms(ShapeHonesty(), program) == [wanted]


@pytest.mark.parametrize("last", [16, 1])
def test_a_batch_of_one_that_never_comes_is_noted(last: int) -> None:
    """49 items in batches of 16 leave one over, which drop_last drops."""
    net = made(squeezed, body=pooled, head=lambda: nn.Linear(8, 3))
    loader = lambda: DataLoader(Quarters(48 + last), 16, drop_last=True)  # noqa: E731
    (note,) = found(ShapeHonesty(), tiny(model=net, batches=loader))
    assert note.cause == "batch-of-one" and not note.alarms


def test_no_weights() -> None:
    with pytest.warns(UserWarning, match="zero-element"):
        hollow = nn.Linear(0, 3)
    program = tiny(
        model=lambda: Made(lambda net, x: net.head(x.flatten(1)[:, :0]), head=hollow),
        optimizer=lambda net: torch.optim.SGD(net.parameters(), 0.1),
    )
    assert alarms(ShapeHonesty(), program) == ["model/built-wrong"]


HONEST = {
    "both pools": tiny(model=made(both_pools, body=lambda: nn.Conv2d(1, 8, 3), head=lambda: nn.Linear(16, 3))),
    "a pool with nothing left to do": tiny(
        model=made(no_op_pool, body=pooled, pool=lambda: nn.AdaptiveAvgPool2d(1), head=lambda: nn.Linear(8, 3))
    ),
    "channel attention": tiny(
        model=made(
            attended, body=lambda: nn.Conv2d(1, 8, 3), gate=lambda: nn.Conv2d(8, 8, 1), head=lambda: nn.Linear(8, 3)
        )
    ),
    "one number per example, squeezed": tiny(
        model=lambda: Made(lambda net, x: net.body(x.flatten(1)).squeeze(), body=mlp(64, 8, 1)),
        loss=lambda m, b: F.mse_loss(m(b[0]), b[1].float()),
    ),
    "batch norm that refuses one example": tiny(
        model=lambda: nn.Sequential(encoder(), nn.BatchNorm1d(16), nn.Linear(16, 3)),
        loss=lambda m, b: F.cross_entropy(m.train()(b[0]), b[1]),
    ),
    "in the loss, not in the model": tiny(
        model=lambda: nn.Sequential(encoder(), nn.Linear(16, 1)),
        loss=lambda m, b: F.mse_loss(m(b[0]).squeeze(), b[1].float()),
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_shapes(name: str) -> None:
    for check in CHECKS:
        assert alarms(check, HONEST[name]) == [], check.code
