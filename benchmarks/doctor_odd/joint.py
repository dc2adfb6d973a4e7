"""Healthy joint-embedding programs that look sick: twins, queues, coupled batches, plateaus, losses that rise.

Shapes: N pictures, D embedding, P projection.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from doctor_odd.odd import Odd
from doctor_odd.pictures import photographs
from doctor_odd.training import train
from selfsight.maths.matching import view_retrieval
from selfsight.program import Program


def augment(x: Tensor, noise: float = 0.1) -> Tensor:
    """A random turn, zoom, shift and colour gain of each picture (N, 3, H, W), and grain."""
    n = len(x)
    angle = (torch.rand(n) - 0.5) * 0.4
    zoom = 0.8 + 0.2 * torch.rand(n)
    shift = (torch.rand(n, 2) - 0.5) * 0.2
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    turned = F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)
    gain = 0.4 + torch.rand(n, 3, 1, 1)
    return turned * gain + noise * torch.randn_like(x)


def retrieval(embed: Callable[[Any, Tensor], Tensor]) -> Callable[[nn.Module], float]:
    """The share of 60 held-out pictures' views whose nearest neighbour is their other view, mean of four draws."""

    def metric(model: nn.Module) -> float:
        pictures = photographs(count=60, held_out=True)
        draws = [view_retrieval(embed(model, augment(pictures)), embed(model, augment(pictures))) for _ in range(4)]
        return sum(draws) / len(draws)

    return metric


def conv_net(out: int = 64) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, stride=2, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 16, out),
        nn.BatchNorm1d(out),
        nn.ReLU(),
    )


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with batch norm and ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def two_views(size: int = 64, noise: float = 0.1) -> Iterator[tuple[Tensor, Tensor]]:
    pictures = photographs()
    for rows in torch.randperm(len(pictures)).split(size):
        if len(rows) == size:
            yield augment(pictures[rows], noise), augment(pictures[rows], noise)


class Pairs(Dataset):
    """Two views of one photograph, drawn anew at every access."""

    def __init__(self) -> None:
        self.pictures = photographs()

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        twice = augment(self.pictures[index].expand(2, -1, -1, -1))
        return twice[0], twice[1]


# H04: BYOL (Grill et al. 2020): the teacher has no gradients and is in no optimizer; the loss may rise as it moves.


class BYOL(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.online = nn.ModuleDict({"backbone": conv_net(), "projector": mlp(64, 128, 32)})
        self.predictor = mlp(32, 64, 32)
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    def project(self, net: nn.ModuleDict, x: Tensor) -> Tensor:
        return net["projector"](net["backbone"](x))

    @torch.no_grad()
    def follow(self, momentum: float = 0.95) -> None:
        for slow, fast in zip(self.target.parameters(), self.online.parameters(), strict=True):
            slow.mul_(momentum).add_(fast, alpha=1 - momentum)


def byol_loss(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    total = torch.zeros(())
    for mine, other in (batch, batch[::-1]):
        said = model.predictor(model.project(model.online, mine))
        with torch.no_grad():
            wanted = model.project(model.target, other)
        total = total + 2 - 2 * F.cosine_similarity(said, wanted).mean()
    return total


def byol() -> Program:
    def step(model: Any, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = byol_loss(model, batch)
        loss.backward()
        optimizer.step()
        model.follow()
        return loss.item()

    return Program(
        batches=two_views,
        model=BYOL,
        loss=byol_loss,
        optimizer=lambda model: torch.optim.AdamW(
            [*model.online.parameters(), *model.predictor.parameters()], lr=2e-3, weight_decay=1e-4
        ),
        step=step,
        embed=lambda model, batch: model.online["backbone"](batch[0]),
        views=lambda batch: batch,
        teacher=lambda model: model.target,
        planned_steps=2000,
    )


# H05: Barlow Twins (Zbontar et al. 2021): batch norm in the head and a loss over the batch's correlations.


class BarlowTwins(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = conv_net()
        self.projector = nn.Sequential(mlp(64, 128, 64), nn.BatchNorm1d(64, affine=False))

    def forward(self, y1: Tensor, y2: Tensor) -> Tensor:
        """The loss itself, as its authors wrote it: the module returns no prediction."""
        z1, z2 = self.projector(self.backbone(y1)), self.projector(self.backbone(y2))
        correlation = z1.T @ z2 / len(z1)
        on = (torch.diagonal(correlation) - 1).square().sum()
        off = (correlation - torch.diag(torch.diagonal(correlation))).square().sum()
        return on + 0.02 * off


def barlow() -> Program:
    return Program(
        batches=lambda: DataLoader(Pairs(), batch_size=64, shuffle=True, drop_last=True),
        model=BarlowTwins,
        loss=lambda model, batch: model(*batch),
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=2e-3),
        embed=lambda model, batch: model.backbone(batch[0]),
        views=lambda batch: (batch[0], batch[1]),
        dataset=Pairs(),
    )


# H06: MoCo (He et al. 2020): the forward pass moves the twin and fills a queue, and the loss rises while it fills.


class MoCo(nn.Module):
    def __init__(self, size: int = 512, momentum: float = 0.97, temperature: float = 0.2) -> None:
        super().__init__()
        self.momentum, self.temperature = momentum, temperature
        self.encoder_q = nn.Sequential(conv_net(), nn.Linear(64, 32))
        self.encoder_k = nn.Sequential(conv_net(), nn.Linear(64, 32))
        for p_q, p_k in zip(self.encoder_q.parameters(), self.encoder_k.parameters(), strict=True):
            p_k.data.copy_(p_q.data)
            p_k.requires_grad = False
        self.register_buffer("queue", torch.zeros(size, 32))
        self.register_buffer("pointer", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def keys(self, x: Tensor) -> Tensor:
        for p_q, p_k in zip(self.encoder_q.parameters(), self.encoder_k.parameters(), strict=True):
            p_k.data = p_k.data * self.momentum + p_q.data * (1 - self.momentum)
        order = torch.randperm(len(x))
        return F.normalize(self.encoder_k(x[order]), dim=1)[torch.argsort(order)]

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        at = int(self.pointer)
        self.queue[at : at + len(keys)] = keys
        self.pointer[0] = (at + len(keys)) % len(self.queue)

    def forward(self, im_q: Tensor, im_k: Tensor) -> tuple[Tensor, Tensor]:
        q = F.normalize(self.encoder_q(im_q), dim=1)
        k = self.keys(im_k)
        positive = (q * k).sum(1, keepdim=True)
        negative = q @ self.queue.clone().detach().T
        logits = torch.cat([positive, negative], dim=1) / self.temperature
        self.enqueue(k)
        return logits, torch.zeros(len(logits), dtype=torch.long)


def moco() -> Program:
    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        output, target = model(im_q=batch["q"], im_k=batch["k"])
        return F.cross_entropy(output, target)

    return Program(
        batches=lambda: ({"q": one, "k": two} for one, two in two_views(64)),
        model=MoCo,
        loss=loss,
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.06, momentum=0.9, weight_decay=1e-4),
        embed=lambda model, batch: model.encoder_q[0](batch["q"]),
        views=lambda batch: (batch["q"], batch["k"]),
        teacher=lambda model: model.encoder_k,
        planned_steps=1000,
    )


# H07: SimSiam (Chen and He 2021) long after its loss has come to rest.


class SimSiam(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = conv_net()
        self.projector = nn.Sequential(mlp(64, 128, 64), nn.BatchNorm1d(64, affine=False))
        self.predictor = mlp(64, 32, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.projector(self.encoder(x))
        return self.predictor(z), z.detach()


def simsiam_loss(model: nn.Module, views: tuple[Tensor, Tensor]) -> Tensor:
    (p1, z1), (p2, z2) = model(views[0]), model(views[1])
    return -(F.cosine_similarity(p1, z2).mean() + F.cosine_similarity(p2, z1).mean()) / 2


def simsiam_from(model: Any) -> Program:
    return Program(
        batches=lambda: two_views(noise=0.02),
        model=model,
        loss=simsiam_loss,
        optimizer=lambda net: torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
        embed=lambda net, views: net.encoder(views[0]),
        views=lambda views: views,
    )


@cache
def settled_weights() -> dict[str, Tensor]:
    return train(simsiam_from(SimSiam), 200, seed=9).state_dict()


def settled() -> SimSiam:
    net = SimSiam()
    net.load_state_dict(settled_weights())
    return net


def simsiam() -> Program:
    return simsiam_from(settled)


# H25: SimCLR (Chen et al. 2020) at temperature .5 with 256 pictures: a third of the loss is all that can be won.


class SimCLR(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f = conv_net()
        self.g = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.g(self.f(x)), dim=-1)


def nt_xent(z: Tensor, temperature: float = 0.5) -> Tensor:
    """Rows 2i and 2i + 1 of z (2N, P) belong together."""
    similarity = z @ z.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return F.cross_entropy(similarity, torch.arange(len(z)) ^ 1)


def interleaved() -> Iterator[Tensor]:
    """(512, 3, H, W): both views of each picture next to each other, in one tensor."""
    pictures = photographs()
    for _ in range(4):
        rows = torch.randperm(len(pictures))[:256]
        yield augment(pictures[rows].repeat_interleave(2, 0))


def simclr() -> Program:
    return Program(
        batches=interleaved,
        model=SimCLR,
        loss=lambda model, x: nt_xent(model(x)),
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=3e-3),
        predict=lambda model, x: model(x),
        criterion=lambda z, x: nt_xent(z),
        embed=lambda model, x: model.f(x[0::2]),
        views=lambda x: (x[0::2], x[1::2]),
        planned_steps=500,
    )


def _byol_retrieval(model: nn.Module, x: Tensor) -> Tensor:
    return model.online["backbone"](x)


ODD = (
    Odd(
        id="H04",
        name="a teacher without gradients",
        program=byol,
        why="Half of the model gets no gradient and is in no optimizer: it follows the other half by a moving average.",
        metric=retrieval(_byol_retrieval),
        baseline=retrieval(_byol_retrieval),
        steps=90,
    ),
    Odd(
        id="H05",
        name="batch norm and batch correlations",
        program=barlow,
        why="Every output and the loss depend on the whole batch, and the module returns a loss: that is the method.",
        metric=retrieval(lambda model, x: model.backbone(x)),
        baseline=retrieval(lambda model, x: model.backbone(x)),
        steps=60,
    ),
    Odd(
        id="H06",
        name="a queue that fills",
        program=moco,
        why="The loss rises at first and the same batch never gives the same loss twice: the forward pass fills a queue.",
        metric=retrieval(lambda model, x: model.encoder_q[0](x)),
        baseline=retrieval(lambda model, x: model.encoder_q[0](x)),
        steps=80,
    ),
    Odd(
        id="H07",
        name="a joint embedding at its plateau",
        program=simsiam,
        why="The loss is negative and stands still near -.9: the net has learned what this loss can teach.",
        metric=retrieval(lambda model, x: model.encoder(x)),
        baseline=lambda model: retrieval(lambda net, x: net.encoder(x))(SimSiam().eval()),
        steps=10,
    ),
    Odd(
        id="H25",
        name="temperature .5 with 256 pictures",
        program=simclr,
        why="The loss cannot fall by more than a third: at this temperature and batch its floor is high.",
        metric=retrieval(lambda model, x: model.f(x)),
        baseline=retrieval(lambda model, x: model.f(x)),
        steps=20,
    ),
)
