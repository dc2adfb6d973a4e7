"""M201 on programs as people write them: examples that are mixed, each in its own way, and odd programs that mean it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from asking import found
from nets import CHECKS, DATA, alarms, encoder, made, mlp, two
from torch import Tensor, nn

from selfsight.check import Check
from selfsight.checks.mixed_examples import MixedExamples
from selfsight.planted import tiny


def nt_xent(z: Tensor, t: float = 0.2) -> Tensor:
    sim = (z @ z.T / t).fill_diagonal_(-math.inf)
    return F.cross_entropy(sim, (torch.arange(len(z)) + len(z) // 2) % len(z))


def tokens(x: Tensor) -> Tensor:
    return x.flatten(1).unflatten(1, (8, 8))  # (N, T, D)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_planted(check: Check) -> None:
    sick, well = check.planted()
    assert alarms(check, sick)
    assert not alarms(check, well)


# --------------------------------------------------------------------------------------------------- M201: mixing


def attending(batch_first: bool) -> Callable[[], nn.Module]:
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.head(net.body(tokens(x)).mean(1))

    return made(
        forward,
        body=lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=batch_first),
        head=lambda: nn.Linear(8, 3),
    )


def recurrent(net: Any, x: Tensor) -> Tensor:
    return net.head(net.body(tokens(x))[0][:, -1])


def recurrent_first(net: Any, x: Tensor) -> Tensor:
    return net.head(net.body(tokens(x).transpose(0, 1))[0][-1])


def softmax_over_batch(net: Any, x: Tensor) -> Tensor:
    h = net.body(x.flatten(1))
    return net.head(h * h.softmax(dim=0))


def wrong_transpose(net: Any, x: Tensor) -> Tensor:
    features = torch.cat([net.body(half.flatten(1)) for half in x.chunk(2, 2)])
    return net.head(features.reshape(len(x), 2, -1).flatten(1))


def right_transpose(net: Any, x: Tensor) -> Tensor:
    features = torch.cat([net.body(half.flatten(1)) for half in x.chunk(2, 2)])
    return net.head(features.reshape(2, len(x), -1).transpose(0, 1).flatten(1))


def halves() -> dict[str, Any]:
    return {"body": lambda: mlp(32, 8), "head": lambda: nn.Linear(16, 3)}


def torn_views(model: nn.Module, batch: Any) -> Tensor:
    z = model(torch.cat(batch))
    a, b = z.view(-1, 2, z.shape[1]).unbind(1)
    return nt_xent(F.normalize(torch.cat([a, b]), dim=1))


MIXED = {
    "attention over the batch": (tiny(model=attending(False)), "model/mixes-examples"),
    "an LSTM over the batch": (
        tiny(model=made(recurrent, body=lambda: nn.LSTM(8, 8), head=lambda: nn.Linear(8, 3))),
        "model/mixes-examples",
    ),
    "a gate that is a softmax over dim 0": (
        tiny(model=made(softmax_over_batch, body=lambda: mlp(64, 8), head=lambda: nn.Linear(8, 3))),
        "model/normalises-over-batch",
    ),
    "reshape instead of transpose": (tiny(model=made(wrong_transpose, **halves())), "model/mixes-examples"),
    "views torn in the loss": (two(torn_views), "model/mixes-examples"),
    "normalize over dim 0": (
        two(lambda m, b: nt_xent(torch.cat([F.normalize(m(x), dim=0) for x in b]))),
        "model/normalises-over-batch",
    ),
    "the length of the whole tensor": (
        two(lambda m, b: nt_xent((lambda z: z / z.norm())(m(torch.cat(b))))),
        "loss/whole-tensor-normalise",
    ),
    "nn.Softmax(dim=0) before NLL": (
        tiny(model=lambda: nn.Sequential(encoder(), nn.Linear(16, 3), nn.LogSoftmax(dim=0))),
        "model/normalises-over-batch",
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixing(name: str) -> None:
    program, wanted = MIXED[name]
    assert alarms(MixedExamples(), program) == [wanted]
    assert found(MixedExamples(), program)[0].place.file.endswith(("test_model.py", "planted.py"))


class Queue(nn.Module):
    """MoCo: shuffled keys, a queue that the forward pass fills, an in-place twin."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = encoder(), encoder()
        self.k.load_state_dict(self.q.state_dict())
        self.k.requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(64, 16), dim=1))

    def forward(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        q = F.normalize(self.q(one), dim=1)
        with torch.no_grad():
            for slow, fast in zip(self.k.parameters(), self.q.parameters(), strict=True):
                slow.mul_(0.9).add_(fast, alpha=0.1)
            order = torch.randperm(len(other))
            k = F.normalize(self.k(other[order]), dim=1)[order.argsort()]
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ self.queue.clone().T], 1) / 0.2
        self.queue.copy_(torch.cat([self.queue[len(k) :], k]))
        return logits, torch.zeros(len(q), dtype=torch.long)


def by_hand(net: Any, x: Tensor) -> Tensor:
    h = net.body(x.flatten(1))
    return net.head(F.relu((h - h.mean(0)) / (h.var(0) + 1e-5).sqrt()))


def functional_norm(net: Any, x: Tensor) -> Tensor:
    return net.head(F.batch_norm(net.body(x.flatten(1)), None, None, training=True))


def mixup(model: nn.Module, batch: Any) -> Tensor:
    x, y = batch
    share, order = torch.rand(()), torch.randperm(len(x))
    out = model(share * x + (1 - share) * x[order])
    return share * F.cross_entropy(out, y) + (1 - share) * F.cross_entropy(out, y[order])


def manifold_mixup(net: Any, x: Tensor) -> Tensor:
    h = net.body(x.flatten(1))
    return net.head(0.7 * h + 0.3 * h[torch.randperm(len(h))])


def shuffled(net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """The encoder sees the batch in another order, and says in which."""
    order = torch.randperm(len(x))
    return net.body(x.flatten(1)[order]), order


def shuffled_loss(model: nn.Module, batch: Any) -> Tensor:
    logits, order = model(batch[0])
    return F.cross_entropy(logits, batch[1][order])


def infomax(net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Deep InfoMax: does this summary belong to this picture? The negatives are the neighbours'."""
    z = net.body(x.flatten(1))
    return net.judge(torch.cat([z, x.flatten(1)], 1)), net.judge(torch.cat([z, x.flatten(1).roll(1, 0)], 1))


def infomax_loss(model: nn.Module, batch: Any) -> Tensor:
    real, false = model(batch[0])
    return F.softplus(-real).mean() + F.softplus(false).mean()


def clip(net: Any, a: Tensor, b: Tensor) -> Tensor:
    return F.normalize(net.one(a), dim=1) @ F.normalize(net.other(b), dim=1).T * 5


def clip_loss(model: nn.Module, batch: Any) -> Tensor:
    logits = model(*batch)
    order = torch.arange(len(logits))
    return (F.cross_entropy(logits, order) + F.cross_entropy(logits.T, order)) / 2


def barlow(net: Any, a: Tensor, b: Tensor) -> Tensor:
    """Without centring: each feature gets length 1 over the batch, then features are correlated."""
    one, other = (F.normalize(net.body(x), dim=0) for x in (a, b))
    return (one.T @ other - torch.eye(16)).square().sum()


def swav(model: nn.Module, batch: Any) -> Tensor:
    scores = [model(x) for x in batch]
    total = torch.zeros(())
    for mine, theirs in (scores, scores[::-1]):
        with torch.no_grad():
            q = (theirs / 0.05).clamp(max=50).exp()
            q = q / q.sum()
            for _ in range(3):
                q = q / q.sum(0, keepdim=True) / q.shape[1]
                q = q / q.sum(1, keepdim=True) / len(q)
            q = q * len(q)
        total = total - (q * (mine / 0.1).log_softmax(1)).sum(1).mean()
    return total


def balanced(model: nn.Module, batch: Any) -> Tensor:
    one, other = (model(x) for x in batch)
    with torch.no_grad():
        wanted = (other / 0.1).softmax(0)
        wanted = wanted / wanted.sum(1, keepdim=True)
    return -(wanted * one.log_softmax(1)).sum(1).mean()


def remembers_nothing() -> nn.Module:
    norm = nn.BatchNorm1d(16, track_running_stats=False)
    nn.init.constant_(norm.bias, 0.5)
    return nn.Sequential(encoder(), norm, nn.Linear(16, 3))


def supcon(model: nn.Module, batch: Any) -> Tensor:
    a, b = model(torch.cat(batch)).chunk(2)
    z = torch.cat(torch.stack([F.normalize(a, dim=1), F.normalize(b, dim=1)], 1).unbind(1))
    return nt_xent(z)


def time_first() -> Iterator[tuple[Tensor, Tensor]]:
    """(T, N, D) and (T, N): sequences with time first, as the language model example of torch has them."""
    for part in DATA.pictures[:, 0].split(16):
        yield part.transpose(0, 1).contiguous(), (part.sum(2) > 0).long().T.contiguous()


def graph() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """One graph: nodes, edges as a matrix, and classes of the nodes."""
    drawn = torch.Generator().manual_seed(0)
    for _ in range(4):
        edges = (torch.rand(12, 12, generator=drawn) < 0.3).float() + torch.eye(12)
        yield torch.randn(12, 5, generator=drawn), edges / edges.sum(1, keepdim=True), torch.arange(12) % 3


def over_graph(net: Any, x: Tensor, edges: Tensor) -> Tensor:
    return net.head(edges @ F.relu(net.body(edges @ x)))


def whole_batch_scaled(net: Any, x: Tensor) -> Tensor:
    return net.body((x.flatten(1) - x.mean()) / x.std())


def sequences_well(net: Any, x: Tensor) -> Tensor:
    return net.head(net.body(x))


UNMIXED = {
    "batch norm by hand": tiny(model=made(by_hand, body=lambda: mlp(64, 8), head=lambda: nn.Linear(8, 3))),
    "batch norm as a function": tiny(
        model=made(functional_norm, body=lambda: mlp(64, 8), head=lambda: nn.Linear(8, 3))
    ),
    "batch norm without memory": tiny(model=remembers_nothing),
    "targets balanced over the batch": two(balanced),
    "attention, batch first": tiny(model=attending(True)),
    "an LSTM, time first": tiny(model=made(recurrent_first, body=lambda: nn.LSTM(8, 8), head=lambda: nn.Linear(8, 3))),
    "transposed rightly": tiny(model=made(right_transpose, **halves())),
    "mixup": tiny(loss=mixup),
    "mixup inside": tiny(model=made(manifold_mixup, body=lambda: mlp(64, 8), head=lambda: nn.Linear(8, 3))),
    "shuffled, and the order told": tiny(model=made(shuffled, body=lambda: mlp(64, 8, 3)), loss=shuffled_loss),
    "Deep InfoMax": tiny(model=made(infomax, body=lambda: mlp(64, 8), judge=lambda: mlp(72, 8, 1)), loss=infomax_loss),
    "CLIP": two(clip_loss, made(clip, one=encoder, other=encoder)),
    "features correlated over the batch": two(lambda m, b: m(*b), made(barlow, body=encoder)),
    "MoCo": two(lambda m, b: F.cross_entropy(*m(*b)), Queue),
    "SwAV": two(swav),
    "SupCon": two(supcon),
    "time first": tiny(
        batches=time_first,
        model=made(sequences_well, body=lambda: nn.TransformerEncoderLayer(8, 2, 16), head=lambda: nn.Linear(8, 2)),
        loss=lambda m, b: F.cross_entropy(m(b[0]).flatten(0, 1), b[1].flatten()),
    ),
    "a graph": tiny(
        batches=graph,
        model=made(over_graph, body=lambda: nn.Linear(5, 8), head=lambda: nn.Linear(8, 3)),
        loss=lambda m, b: F.cross_entropy(m(b[0], b[1]), b[2]),
    ),
    "scaled by the whole batch": tiny(model=made(whole_batch_scaled, body=lambda: mlp(64, 16, 3))),
}


@pytest.mark.parametrize("name", UNMIXED)
def test_no_mixing(name: str) -> None:
    for check in CHECKS:
        assert alarms(check, UNMIXED[name]) == [], check.code


def test_batch_statistics_are_at_most_noted() -> None:
    assert found(MixedExamples(), UNMIXED["batch norm by hand"]) == []
    (note,) = found(MixedExamples(), UNMIXED["scaled by the whole batch"])
    assert not note.alarms and "statistic" in note.sentence


def normed() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 3))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_nothing_is_changed(check: Check) -> None:
    """One live model handed out again and again is afterwards as it was, and so are the random states."""
    live = normed()
    optimizer = torch.optim.SGD(live.parameters(), 0.1, momentum=0.9)
    before = {name: tensor.clone() for name, tensor in live.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    found(check, tiny(model=lambda: live, optimizer=lambda net: optimizer, embed=lambda m, b: m(b[0])))
    assert live.training and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(tensor, live.state_dict()[name]) for name, tensor in before.items())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in live.modules())
