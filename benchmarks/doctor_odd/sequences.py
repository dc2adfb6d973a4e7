"""Healthy programs on sequences: a causal transformer whose batch is one tensor of numbers, and sequences of any length.

Shapes: N sequences, T tokens, K kinds of token.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from doctor_odd.odd import Odd
from doctor_odd.pictures import digits
from selfsight.program import Program

# H22: a digit as 64 tokens of 4 greys, each told from those before it; the batch is input and target at once.

START = 4


def tokens(held_out: bool = False) -> Tensor:
    """(N, 65) long: a start token, then the pixels in reading order."""
    images = digits()[2 if held_out else 0]
    greys = (images.flatten(1) * 3.999).long()
    return torch.cat([torch.full((len(greys), 1), START), greys], 1)


class PixelTransformer(nn.Module):
    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.token = nn.Embedding(5, dim)
        self.place = nn.Embedding(64, dim)
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.out = nn.Linear(dim, 4, bias=False)

    def forward(self, seen: Tensor) -> Tensor:
        length = seen.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        x = self.token(seen) + self.place(torch.arange(length))
        return self.out(self.layers(x, mask=mask, is_causal=True))


def next_token(model: nn.Module, ids: Tensor) -> Tensor:
    return F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:])


def pixels() -> Program:
    return Program(
        batches=lambda: DataLoader(tokens(), batch_size=48, shuffle=True, drop_last=False),
        model=PixelTransformer,
        loss=next_token,
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.95)),
        predict=lambda model, ids: model(ids[:, :-1]),
        criterion=lambda logits, ids: F.cross_entropy(logits.transpose(1, 2), ids[:, 1:]),
        validation=lambda: [tokens(held_out=True)[:200]],
        planned_steps=1000,
    )


def nats_saved(model: nn.Module) -> float:
    """Nats per held-out pixel below what the frequencies of the greys alone would cost."""
    held = tokens(held_out=True)[:200]
    frequency = torch.bincount(tokens()[:, 1:].flatten(), minlength=4).float()
    blind = F.nll_loss((frequency / frequency.sum()).log().expand(held[:, 1:].numel(), -1), held[:, 1:].flatten())
    return (blind - next_token(model, held)).item()


# H26: waves of 8 to 24 samples, padded; a summed loss, batches of any size, the last one tiny.


def waves(count: int, seed: int) -> list[tuple[Tensor, int]]:
    """(length, 1) samples of a slow, middle or fast wave with noise, and which of them."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        length = int(torch.randint(8, 25, (), generator=generator))
        phase = 6.28 * torch.rand((), generator=generator)
        pace = (0.25, 0.8, 1.6)[number % 3]
        wave = torch.sin(pace * torch.arange(length) + phase) + 0.2 * torch.randn(length, generator=generator)
        made.append((wave[:, None], number % 3))
    return made


def padded(items: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
    sequences, kinds = zip(*items, strict=True)
    return {
        "samples": nn.utils.rnn.pad_sequence(list(sequences), batch_first=True),
        "lengths": torch.tensor([len(one) for one in sequences]),
        "kind": torch.tensor(kinds),
    }


class Listener(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 24, batch_first=True)
        self.linear = nn.Linear(24, 3)

    def forward(self, samples: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(samples, lengths, batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)
        return self.linear(last[-1])


def ragged() -> Program:
    items = waves(309, seed=0)

    def buckets() -> Iterator[dict[str, Tensor]]:
        order = torch.randperm(len(items)).tolist()
        start = 0
        while start < len(order):
            size = int(torch.randint(20, 41, ()))
            yield padded([items[i] for i in order[start : start + size]])
            start += size

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch["samples"], batch["lengths"]), batch["kind"], reduction="sum")

    return Program(
        batches=buckets,
        model=Listener,
        loss=loss,
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=1e-2),
        predict=lambda model, batch: model(batch["samples"], batch["lengths"]),
        criterion=lambda logits, batch: F.cross_entropy(logits, batch["kind"], reduction="sum"),
        dataset=items,
        validation=lambda: [padded(waves(60, seed=1))],
    )


def heard(model: nn.Module) -> float:
    """Accuracy over 150 new waves; chance is .33."""
    batch = padded(waves(150, seed=2))
    return (model(batch["samples"], batch["lengths"]).argmax(1) == batch["kind"]).float().mean().item()


ODD = (
    Odd(
        id="H22",
        name="tokens, causally",
        program=pixels,
        why="Inputs are whole numbers, the batch is one tensor, input and target at once, and early outputs ignore later inputs.",
        metric=nats_saved,
        baseline=0.1,
        steps=60,
    ),
    Odd(
        id="H26",
        name="sequences of any length, a summed loss",
        program=ragged,
        why="No two batches have the same shape or size, so the loss jumps from step to step: it is a sum.",
        metric=heard,
        baseline=0.55,
        steps=120,
    ),
)
