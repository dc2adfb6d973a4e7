"""The arms: what is varied, on which rung, and what the journal asked by it.

A puzzle draws the questions (`selfsight.tasks.Unmix`, `Scale`); network, loss and optimizer are the arm's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

import selfsight
from journal.siamese import Cosine, Products, Siamese, journals, journals_encoder, our_encoder, ours
from selfsight.batch import Batch, Example, Now
from selfsight.comparison import Comparison
from selfsight.encoder import Encoder
from selfsight.engine import engine
from selfsight.images.views import Views
from selfsight.optimizer import Optimization
from selfsight.seeds import generator
from selfsight.task import Model, Task
from selfsight.tasks import Scale, SimCLR, Unmix
from selfsight.train import State, train

BATCH = 64
SAME = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()
RUNGS: dict[str, Unmix | Scale] = {
    "scale, which": Scale(answer="which", views=SAME),
    "scale, factors": Scale(answer="factors", views=SAME),
    "unmix, which": Unmix(answer="which", views=SAME, same_view=True),
    "unmix, shares": Unmix(answer="shares", views=SAME, same_view=True),
}
"""From easy to hard, as the journal ranked them: candidates are the very pictures that were mixed or darkened."""

Optimizer = Callable[[nn.Module], torch.optim.Optimizer]
Change = Callable[[Example], Example]


def adam(net: nn.Module, rate: float = 2e-3, eps: float = 1e-8) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=rate, eps=eps, weight_decay=1e-4)


def groups_of_the_journal(net: Any) -> torch.optim.Optimizer:
    """Adam with eps 1e-3, and rates of 1e-5 for the encoder and 1e-4 for the head."""
    groups = [{"params": net.encoder.parameters(), "lr": 1e-5}, {"params": net.head.parameters(), "lr": 1e-4}]
    return torch.optim.Adam(groups, eps=1e-3)


def noise_instead(example: Example) -> Example:
    """Candidates and mixtures of noise: what would be learned if it were not the pictures?"""
    drawn = torch.Generator().manual_seed(int(example.index.sum()))
    return replace(example, inputs=torch.rand(example.inputs.shape, generator=drawn))


def all_alike(example: Example) -> Example:
    """The asked picture in every place: nothing is there to be told apart."""
    return replace(example, inputs=example.inputs[:, :1].expand_as(example.inputs))


@dataclass(frozen=True)
class Arm:
    """One way of training, and the question it answers."""

    name: str
    rung: str
    asks: str = ""
    net: Callable[[], Siamese] = ours
    optimizer: Optimizer = adam
    squared: bool = False
    """One sigmoid per candidate and squared errors, as the journal had it, instead of the puzzle's own loss."""
    change: Change | None = None
    images: int | None = None
    """Learn from so many images only."""
    frozen: bool = False
    """Draw each example once and for all, instead of anew each time it is read."""
    puzzle: dict[str, Any] = field(default_factory=dict)
    """Fields of the puzzle that are varied."""
    before: Task | None = None
    """What the encoder is taught before, for as many steps, on the same images."""
    fault: bool = False
    """Ask the doctor."""

    def task(self) -> Unmix | Scale:
        return replace(RUNGS[self.rung], **self.puzzle)

    def loss(self, logits: Tensor, example: Example) -> Tensor:
        if self.squared:
            assert example.answer is not None
            return nn.functional.mse_loss(logits.sigmoid(), example.answer.float())
        return self.task().loss({"logits": logits}, example).loss

    def batches(self, images: np.ndarray, seed: int = 0) -> Iterable[Example]:
        """A fresh pass."""
        order = torch.randperm(len(images)) if not self.frozen else torch.arange(len(images))
        for step in range(len(images) // BATCH):
            rows = order[step * BATCH : (step + 1) * BATCH]
            drawn = step if self.frozen else int(torch.randint(2**31, ()))
            yield self.asked(images, rows, drawn)

    def asked(self, images: np.ndarray, rows: Tensor, drawn: int) -> Example:
        pixels = torch.from_numpy(images[rows.numpy()]).permute(0, 3, 1, 2)
        example = self.task().prepare(Batch(pixels, rows), Now(0, 1, generator("journal", drawn)))
        return self.change(example) if self.change else example

    def program(self, images: np.ndarray) -> selfsight.Program:
        """The same training as the doctor sees it."""
        return selfsight.Program(
            batches=lambda: self.batches(images[: 32 * BATCH]),
            model=self.net,
            loss=lambda net, example: self.loss(net(example.inputs), example),
            optimizer=self.optimizer,
            predict=lambda net, example: net(example.inputs),
            criterion=self.loss,
            embed=lambda net, example: net.encoder(example.inputs[:, 0]),  # type: ignore[union-attr, operator]
            planned_steps=400,
        )


def trained(arm: Arm, images: tuple[np.ndarray, np.ndarray], seed: int, steps: int) -> dict[str, Any]:
    """Trains an arm -> what it got right, or its mean error of a share, on images trained on and on others."""
    torch.manual_seed(seed)
    net, learned, made = arm.net(), images[0][: arm.images], 0
    if arm.before:
        taught(net.encoder, arm.before, learned, seed, steps)
    optimizer = arm.optimizer(net)
    while made < steps:
        for example in arm.batches(learned):
            optimizer.zero_grad()
            arm.loss(net(example.inputs), example).backward()
            optimizer.step()
            made += 1
            if made == steps:
                break
    measure = "right" if arm.task().answer == "which" else "error"
    told = {name: _judged(arm, net.eval(), part, measure) for name, part in (("train", learned), ("val", images[1]))}
    return {"measure": measure, **{name: pair[0] for name, pair in told.items()}, "constant": told["val"][1]}


def taught(encoder: nn.Module, task: Task, images: np.ndarray, seed: int, steps: int) -> None:
    """Pretrains an encoder of ours in place; what was frozen stays frozen afterwards."""
    learns = [p.requires_grad for p in encoder.parameters()]
    encoder.requires_grad_(True)
    model = Model(cast(Encoder, encoder), task.parts(cast(Encoder, encoder)))
    state = State(task, model, Optimization(), engine("32-true"), steps=steps, seed=seed, channels_last=False)
    for _ in train(state, images, np.arange(len(images)), batch=4 * BATCH):
        pass
    for parameter, own in zip(encoder.parameters(), learns, strict=True):
        parameter.requires_grad_(own)


@torch.no_grad()
def _judged(arm: Arm, net: nn.Module, images: np.ndarray, measure: str) -> tuple[float, float]:
    """(measure, the best constant's) over sixteen batches of fixed draws."""
    told, asked = [], []
    for step in range(16):
        rows = torch.randperm(len(images), generator=generator("judge", step))[:BATCH]
        example = arm.asked(images, rows, 10**6 + step)
        logits = net(example.inputs)
        told.append(logits.sigmoid() if arm.squared or arm.rung == "scale, factors" else logits)
        asked.append(example.answer)
    said, answer = torch.cat(told), torch.cat(asked)  # type: ignore[arg-type]
    if measure == "error":
        shares = said if arm.squared or arm.rung == "scale, factors" else said.softmax(1)
        return float((shares - answer).abs().mean()), float((answer - answer.median()).abs().mean())
    if answer.ndim == 1:
        return float((said.argmax(1) == answer).float().mean()), 1 / said.shape[1]
    yes = said > 0.5 if arm.squared else said > 0
    share = float(answer.mean())
    return float((yes == (answer > 0.5)).float().mean()), max(share, 1 - share)


def verdict(diagnosis: selfsight.Diagnosis) -> str:
    """The doctor's first word."""
    first = next(iter(diagnosis.alarms), None)
    return f"{first.code} {first.component}: {first.cause}. {first.sentence}" if first else diagnosis.verdict


def _biased() -> Siamese:
    """The last bias at the logit of the base rate, 2 of 3."""
    net = ours()
    nn.init.constant_(net.head.head[-1].bias, 0.6931)  # type: ignore[union-attr, index]
    return net


def _frozen_after(net: Siamese) -> Siamese:
    net.encoder.requires_grad_(False)
    return net


def _by(by: str) -> Siamese:
    return Siamese(our_encoder(), Comparison(by=by).build(128))  # type: ignore[arg-type]


def _mean_pool() -> Siamese:
    return Siamese(journals_encoder(pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())), Comparison().build(64))


def _leaky() -> Siamese:
    return Siamese(journals_encoder(activation=nn.LeakyReLU), Comparison().build(128))


HARD = "unmix, which"
ARMS: tuple[Arm, ...] = (
    *(Arm("ours", rung) for rung in RUNGS),
    *(Arm("the journal's network", rung, net=partial(journals, slots_mixed=True)) for rung in RUNGS),
    Arm("the journal's head, as found", HARD, "double activation (cause 3)", partial(journals, squashed=True), fault=True),
    Arm("the journal's Adam", HARD, "eps 1e-3, rates 1e-5 and 1e-4 (causes 6, 7)", optimizer=groups_of_the_journal, fault=True),
    Arm("64 images, drawn anew each time", HARD, "a tiny subset is not tiny (cause 14)", images=BATCH, fault=True),
    Arm("64 images, drawn once", HARD, "a tiny subset is not tiny (cause 14)", images=BATCH, frozen=True),
    Arm("sigmoid and squares", "unmix, shares", "the loss (cause 1)", squared=True),
    Arm("Mish, our head", HARD, "Mish (cause 18)", lambda: Siamese(journals_encoder(), Comparison().build(128))),
    Arm("leaky ReLU, our head", HARD, "Mish (cause 18)", _leaky),
    Arm("mean pooling", HARD, "the pool, 8/27", _mean_pool),
    Arm("rate ten times as large", HARD, "the rate (cause 6)", optimizer=partial(adam, rate=2e-2)),
    Arm("rate a tenth", HARD, "the rate (cause 6)", optimizer=partial(adam, rate=2e-4)),
    Arm("encoder called four times", HARD, "does calling it several times hurt? (cause 9, 8/30)",
        lambda: Siamese(our_encoder(), Comparison().build(128), calls="each")),
    Arm("shares near one half", HARD, "the distribution of shares (cause 11)", puzzle={"concentration": 8.0}),
    Arm("4 candidates, 2 in it", HARD, "class imbalance (cause 13)", puzzle={"candidates": 4}),
    Arm("larger network", HARD, "too small (cause 16)", partial(ours, width=32)),
    Arm("bias at the base rate", HARD, "the last bias (cause 17, Karpathy's trick)", _biased),
    Arm("noise for pictures", HARD, "noise looks the same (8/23)", change=noise_instead),
    Arm("the same picture everywhere", HARD, "identical inputs", change=all_alike, fault=True),
    Arm("encoder at random, frozen", HARD, "is the encoder the problem? (9/1)", lambda: _frozen_after(ours())),
    Arm("encoder pretrained, frozen", HARD, "train the encoder first, and only the head after it (9/3)",
        lambda: _frozen_after(ours()), before=SimCLR()),
    Arm("encoder pretrained", HARD, "train the encoder first (9/1)", before=SimCLR()),
    Arm("cosine, no scale", HARD, "cosines as logits (8/31)", lambda: Siamese(our_encoder(), Cosine()), fault=True),
    Arm("cosine, learned scale", HARD, "cosines as logits (8/31)", partial(_by, "cosine")),
    Arm("raw products, softmax", "unmix, shares", "the N-pair loss (9/7)", lambda: Siamese(our_encoder(), Products())),
    Arm("cosines over 0.1, softmax", "unmix, shares", "NT-Xent (9/7)", lambda: Siamese(our_encoder(), Cosine(0.1))),
    Arm("cosine, learned scale", "unmix, shares", "the N-pair loss against cosines (9/7)", partial(_by, "cosine")),
    Arm("products", HARD, "is u * v enough? (9/3)", partial(_by, "product")),
    Arm("differences", HARD, "L1 instead of u * v (9/3)", partial(_by, "difference")),
    Arm("squared differences", HARD, "L2 instead of u * v (9/3)", partial(_by, "square")),
)  # fmt: skip
