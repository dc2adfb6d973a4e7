"""What waits beside the step: packing, probes, and whether many images cost more than few. See speed.py.

Shapes: N images, D features.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE, DECODED = 128, 4000
"""Of packed JPEGs, pixels; and how many one core decodes to know its limit."""
TRAIN, ASKED, FEATURES, CLASSES = 60_000, 10_000, 256, 10
GROWN, GROWN_SIDE, STEPS = (10_000, 100_000, 1_000_000), 32, 20
BATCHES = (32, 128, 512, 1024)


def pieces(folder: Path, count: int, side: int) -> Path:
    """So many JPEGs of `side` pixels in one class folder, as ImageFolder wants it: pieces of scikit-image's photographs,
    up to three times as large. Made once."""
    from skimage import data

    where = folder / "all"
    where.mkdir(parents=True, exist_ok=True)
    if len(list(where.glob("*.jpg"))) < count:
        photographs = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.retina()]
        draws = np.random.default_rng(0)
        for number in range(count):
            photograph = photographs[number % len(photographs)]
            wide = int(draws.integers(side, min(3 * side, min(photograph.shape[:2]))))
            top, left = (int(draws.integers(0, edge - wide)) for edge in photograph.shape[:2])
            piece = Image.fromarray(photograph[top : top + wide, left : left + wide]).resize((side, side))
            piece.save(where / f"{number:06}.jpg", quality=90)
    return folder


def packing(work: Path, rounds: int, count: int) -> Iterator[dict[str, Any]]:
    """Images a second of one core that decodes and does nothing else, and of `selfsight pack` on all cores, in turn."""
    from selfsight.sources import guess
    from selfsight.store import Packing, pack

    folder = pieces(work / f"{count} of {SIDE}", count, SIDE)
    files = [path.read_bytes() for path in sorted((folder / "all").iterdir())[:DECODED]]
    for turn in range(rounds):
        began = time.perf_counter()
        for content in files:
            Image.open(io.BytesIO(content)).convert("RGB").load()
        took = time.perf_counter() - began
        yield {
            "what": "packing",
            "way": "one core decodes",
            "round": turn,
            "images_per_second": len(files) / took,
        }
        out = work / "packed.store"
        shutil.rmtree(out, ignore_errors=True)
        began = time.perf_counter()
        pack(guess(str(folder)), Packing(size=SIDE), out=out)
        rate = count / (time.perf_counter() - began)
        yield {"what": "packing", "way": "selfsight", "round": turn, "images": count, "images_per_second": rate}


def probes(work: Path, rounds: int, train: int, asked: int, lightly: str | None) -> Iterator[dict[str, Any]]:
    """Seconds and accuracy of nearest neighbours and logistic regression, ours, scikit-learn's and lightly's as they come.

    scikit-learn's 20 neighbours are of rows of length one, as ours are; its logistic regression takes its strength as
    given, where ours chooses it, as LogisticRegressionCV does.
    lightly: the Python that has it.
    """
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    from selfsight.probe import Labelled, Subject
    from selfsight.probes import KNN, Logistic

    draws = np.random.default_rng(0)
    centres = draws.normal(size=(CLASSES, FEATURES)) * 0.12
    labels = draws.integers(CLASSES, size=train + asked)
    features = (centres[labels] + draws.normal(size=(train + asked, FEATURES))).astype(np.float32)
    parts = [
        Labelled(features[at], labels[at], np.zeros((len(labels[at]), 1, 1, 1), np.uint8))
        for at in (slice(train), slice(train, None))
    ]
    subject = Subject("made", parts[0], parts[1], tuple(map(str, range(CLASSES))))

    def ours(probe: Any) -> float:
        return float(next(iter(probe.scores(subject, 0))).value)

    def theirs(model: Any) -> float:
        return float(model.fit(features[:train], labels[:train]).score(features[train:], labels[train:]))

    ways: dict[tuple[str, str], Callable[[], float]] = {
        ("kNN", "selfsight"): lambda: ours(KNN()),
        ("kNN", "scikit-learn"): lambda: theirs(make_pipeline(Normalizer(), KNeighborsClassifier(20))),
        ("logistic", "selfsight"): lambda: ours(Logistic()),
        ("logistic", "scikit-learn"): lambda: theirs(LogisticRegression()),
        ("logistic", "scikit-learn, strength chosen"): lambda: theirs(LogisticRegressionCV(Cs=6, cv=5)),
    }
    for turn in range(rounds):
        for (probe, way), way_of in ways.items():
            if turn and "chosen" in way:  # to tell how long it takes
                continue
            began = time.perf_counter()
            value = way_of()
            took = time.perf_counter() - began
            row = {"what": "probes", "probe": probe, "way": way, "round": turn, "images": train + asked}
            yield row | {"seconds": took, "accuracy": value}
        if lightly and turn < 2:  # it takes minutes
            for probe, told in _by_lightly(lightly, features, labels, train, work).items():
                yield {
                    "what": "probes",
                    "probe": probe,
                    "way": "lightly",
                    "round": turn,
                    "images": train + asked,
                } | told


def _by_lightly(python: str, features: np.ndarray, labels: np.ndarray, train: int, work: Path) -> dict[str, Any]:
    """What lightly_probes.py tells: of each probe, seconds and accuracy."""
    script, held, out = Path(__file__).with_name("lightly_probes.py"), work / "embeddings.npz", work / "probed.json"
    known, asked = slice(train), slice(train, None)
    parts = {f"{part}_features": features[at] for part, at in (("train", known), ("val", asked))}
    np.savez(held, train_labels=labels[known], val_labels=labels[asked], **parts)
    done = subprocess.run([python, str(script), str(held), str(out)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{script.name} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(out.read_text(encoding="utf-8")))


def growth(work: Path, rounds: int) -> Iterator[dict[str, Any]]:
    """Milliseconds an image of a step of SimCLR at 32 gray pixels, by the number of images there are, and by batch."""
    import selfsight
    from selfsight.allocator import keep_memory
    from selfsight.engine import engine
    from selfsight.optimizer import Optimization
    from selfsight.plan import build
    from selfsight.sources import InMemory
    from selfsight.train import State, train

    keep_memory()
    images = np.lib.format.open_memmap(work / "grown.npy", "w+", np.uint8, (max(GROWN), GROWN_SIDE, GROWN_SIDE, 1))
    draws = np.random.default_rng(0)
    for start in range(0, len(images), 50_000):
        part = images[start : start + 50_000]
        part[:] = draws.integers(0, 256, part.shape, dtype=np.uint8)

    def took(count: int, batch: int) -> list[float]:
        task, optimization = selfsight.SimCLR(), Optimization()
        recipe = selfsight.Recipe(data=InMemory(images[:2]), task=task, batch=batch)
        fabric = engine("bf16-mixed")
        state = State(task, build(recipe, GROWN_SIDE, 1), optimization, fabric, steps=2 + STEPS, seed=0)
        steps = train(state, images, np.arange(count), batch=batch)
        return [1000 * step.seconds / batch for step in steps][2:]

    for turn in range(rounds):
        for count, batch in [*((count, 256) for count in GROWN), *((GROWN[1], batch) for batch in BATCHES)]:
            each = float(np.median(took(count, batch)))
            yield {"what": "growth", "images": count, "batch": batch, "round": turn, "milliseconds_per_image": each}
