"""One way to learn from a folder by SimCLR, in a process of its own: prints images a second.

    python speed_loops.py NAME --encoder small|resnet18 --folder IMAGES --seconds 15 [--workers 2]

The same encoder (selfsight's, at its size), projector sizes, temperature, views in distribution, and batch for all. What
differs is how each is run: `plain` as tutorials write it, `tuned` as one who knows processors would, `selfsight`
by `selfsight.pretrain`, and others of `speed_rivals.py` as their documentation shows it. Needs what it is called after, and
selfsight.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from speed_rivals import BATCH, HIDDEN, LEFT_OUT, PROJECTION, RIVALS, SIDE, TEMPERATURE, Told, learner


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("name", choices=list(LOOPS))
    given.add_argument("--encoder", choices=["small", "resnet18"], default="small")
    given.add_argument("--folder", required=True)
    given.add_argument("--seconds", type=float, default=15.0)
    given.add_argument("--workers", type=int, default=0)
    given.add_argument(
        "--began", type=float, help="when this process was asked for, by the clock; its first step is told from there"
    )
    given.add_argument("--out", type=Path, help="a file for what is printed, too: some rivals print after it")
    words = given.parse_args()
    first, ends = LOOPS[words.name](words)
    counted = ends[LEFT_OUT:]
    rate = BATCH * (len(counted) - 1) / (counted[-1] - counted[0]) if len(counted) > 1 else float("nan")
    since = {"first_step": first - words.began} if words.began else {}
    told = json.dumps({"images_per_second": rate, "steps": len(ends), **since})
    print(told)
    if words.out:
        words.out.write_text(told, encoding="utf-8")


def _views() -> Any:
    """What lightly's SimCLRTransform does by default, in our words; sigma is told for 224 pixels there too."""
    import selfsight

    return selfsight.Views(
        crop=(0.08, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, sigma=(0.1, 2.0 * 224 / SIDE)
    )


def _selfsight(words: argparse.Namespace) -> Told:
    import tempfile
    import threading

    from rich.console import Console

    import selfsight
    from selfsight.encoders import Small, Timm

    encoder = Small() if words.encoder == "small" else Timm(name="resnet18")
    task = selfsight.SimCLR(views=_views(), hidden=HIDDEN, projection=PROJECTION, temperature=TEMPERATURE)
    first: list[float] = []

    def watch(pace: Path) -> None:
        while not pace.exists():
            time.sleep(0.01)
        first.append(time.time())

    with tempfile.TemporaryDirectory() as scratch:
        threading.Thread(target=watch, args=(Path(scratch) / "run" / "pace.jsonl",), daemon=True).start()
        run = selfsight.pretrain(
            words.folder, task=task, encoder=encoder, batch=BATCH, minutes=words.seconds / 60, out=Path(scratch) / "run",
            console=Console(quiet=True), doctor="off",
        )  # fmt: skip
        return first[0], [float(end) for end in accumulate(line["seconds"] for line in run.lines("pace"))]


def _loop(words: argparse.Namespace, tuned: bool) -> Told:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder

    one = T.Compose(
        [
            T.RandomResizedCrop(SIDE, scale=(0.08, 1.0)),
            T.RandomHorizontalFlip(),
            T.RandomApply([T.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8),
            T.RandomGrayscale(0.2),
            T.RandomApply([T.GaussianBlur(7, (0.1, 2.0))], 0.5),
            T.ToTensor(),
        ]
    )
    data = ImageFolder(words.folder, transform=lambda image: (one(image), one(image)))
    loader: Any = DataLoader(data, BATCH, shuffle=True, drop_last=True, num_workers=words.workers)
    encoder = learner(words.encoder)
    projector = nn.Sequential(
        nn.Linear(encoder.dim, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PROJECTION)
    )
    if tuned:
        encoder = encoder.to(memory_format=torch.channels_last)
    parameters = [*encoder.parameters(), *projector.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=tuned or None)

    def step(batch: Any) -> None:
        views = torch.cat(batch[0])
        if tuned:
            views = views.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
            z = projector(encoder(views))
        loss = _nt_xent(z.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return _timed(words.seconds, lambda: (batch for _ in iter(int, 1) for batch in loader), step)


def _nt_xent(z: Any) -> Any:
    import torch

    z = torch.nn.functional.normalize(z)
    n = len(z) // 2
    logits = (z @ z.T / TEMPERATURE).masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    return torch.nn.functional.cross_entropy(logits, torch.arange(2 * n).roll(n))


def _timed(seconds: float, batches: Callable[[], Iterator[Any]], step: Callable[[Any], None]) -> Told:
    first, ends = 0.0, list[float]()
    for batch in batches():
        step(batch)
        first = first or time.time()
        ends.append(time.perf_counter())
        if len(ends) > LEFT_OUT + 1 and ends[-1] - ends[LEFT_OUT] > seconds:
            break
    return first, ends


LOOPS: dict[str, Callable[[argparse.Namespace], Told]] = {
    "selfsight": _selfsight,
    "plain": lambda words: _loop(words, tuned=False),
    "tuned": lambda words: _loop(words, tuned=True),
    **RIVALS,
}


if __name__ == "__main__":
    main()
