"""A run as `pretrain` and `evaluate` leave it, made from crops of photographs that come with scikit-image.

Its numbers follow from those pictures and a seeded draw; neighbours and the map from colour histograms ("trained") and
random projections of pixels ("untrained").
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from selfsight.run import Run

PHOTOS = ("astronaut.png", "brick.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
          "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg")  # fmt: skip
CROPS, SIDE, COLUMNS = 25, 48, 20
STEPS, PLANNED = 1200, 1200
SCRIPT = "<script>document.title='hurt'</script>"


LABEL_FREE = [
    {
        "name": "effective rank",
        "trained": 41.3,
        "untrained": 6.2,
        "meaning": "How many directions the embedding uses.",
    },
    {
        "name": "alpha of the spectrum",
        "trained": 1.12,
        "untrained": 2.85,
        "meaning": "Near 1: neither collapsed nor noise.",
    },
    {
        "name": "view retrieval",
        "trained": 0.913,
        "untrained": 0.402,
        "meaning": "How often an image's other view is nearest.",
    },
    {
        "name": "uniformity",
        "trained": -2.61,
        "untrained": -0.34,
        "meaning": "Lower: spread evenly over the sphere.",
    },
]


def crops() -> tuple[np.ndarray, list[str], list[str]]:
    """(N, 48, 48, 3) uint8 crops of the photographs, their names and labels."""
    import skimage.data

    draw = np.random.default_rng(0)
    found, names, labels = [], [], []
    for photo in PHOTOS:
        with Image.open(Path(skimage.data.__file__).parent / photo) as opened:
            picture = opened.convert("RGB")
        picture.thumbnail((400, 400))
        for number in range(CROPS):
            side = int(draw.integers(90, 160))
            left, top = (int(draw.integers(0, room - side)) for room in picture.size)
            found.append(np.asarray(picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))))
            names.append(f"{Path(photo).stem}/{number:03}.png")
            labels.append(Path(photo).stem.replace("_", " "))
    return np.stack(found), names, labels


def nearest(features: np.ndarray, query: int, k: int = 6) -> list[int]:
    distance = ((features - features[query]) ** 2).sum(axis=1)
    return [int(i) for i in np.argsort(distance) if i != query][:k]


def exhibits(folder: Path) -> None:
    images, names, labels = crops()
    rows = math.ceil(len(images) / COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * SIDE, rows * SIDE))
    for i, image in enumerate(images):
        sheet.paste(Image.fromarray(image), (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
    sheet.save(folder / "thumbs.png")
    coarse = images // 43
    colour = np.stack([np.bincount((pixels.reshape(-1, 3) @ [36, 6, 1]), minlength=216) for pixels in coarse]) ** 0.5
    random = images.reshape(len(images), -1) @ np.random.default_rng(1).normal(size=(SIDE * SIDE * 3, 8))
    centred = colour - colour.mean(axis=0)
    plane = np.linalg.svd(centred, full_matrices=False)[0][:, :2]
    ranked = plane.argsort(axis=0).argsort(axis=0) / (len(images) - 1)
    asked = range(3, len(images), CROPS)
    value = {
        "thumb": SIDE, "columns": COLUMNS, "names": names, "labels": labels,
        "map": {"method": "t-SNE", "xy": (0.75 * ranked + 0.25 * np.clip(0.5 + 4 * plane, 0, 1)).round(4).tolist()},
        "neighbours": [{"query": i, "trained": nearest(colour, i), "untrained": nearest(random, i)} for i in asked],
    }  # fmt: skip
    (folder / "exhibits.json").write_text(json.dumps(value))
    puzzles(folder, images)


def puzzles(folder: Path, images: np.ndarray) -> None:
    sheet = Image.new("RGB", (2 * 482, 4 * 200), (250, 250, 248))
    pen = ImageDraw.Draw(sheet)
    for place, i in enumerate(range(3, 200, 25)):
        left, top = place % 2 * 482 + 10, place // 2 * 200 + 10
        whole = Image.fromarray(images[i])
        for turn, view in enumerate([whole, whole.crop((4, 4, 36, 36)), whole.crop((16, 10, 46, 40)).convert("L")]):
            sheet.paste(view.convert("RGB").resize((144, 144), Image.Resampling.BILINEAR), (left + turn * 154, top))
        pen.text((left + 154, top + 148), "two views of one image", fill=(40, 40, 40))
    sheet.save(folder / "puzzles.png")
    asked = {
        "captions": ["two views of one image"] * 8,
        "sentence": "Which of 511 pictures is another view of this one?",
    }
    (folder / "puzzles.json").write_text(json.dumps(asked))


def by_classes() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    draw = np.random.default_rng(5)
    classes = [Path(photo).stem.replace("_", " ") for photo in PHOTOS]
    own = draw.beta(5, 3, len(classes))
    by_class = [{"class": name, "n": 100, "trained": float(own[i]), "untrained": float(own[i] * 0.75),
                 "pixels": float(own[i] * 0.6)} for i, name in enumerate(classes)]  # fmt: skip
    prior = [{"class": name, "train": 25, "val": 100, "predicted": int(draw.integers(60, 150))} for name in classes]
    return by_class, prior


def scores() -> dict[str, Any]:
    table = {
        ("kNN (k=20)", "accuracy"): (0.612, 0.461, 0.388, 0.537),
        ("logistic regression", "accuracy"): (0.674, 0.552, 0.401, 0.662),
        ("few-shot (5 per class)", "accuracy"): (0.488, 0.371, 0.297, 0.503),
        ("clustering", "NMI"): (0.421, 0.288, 0.19, 0.33),
    }
    subjects = ("trained", "untrained", "pixels", "hand-made")
    rows, pairs = [], []
    for (probe, metric), values in table.items():
        shared = {"probe": probe, "metric": metric, "n": 1200}
        for subject, value in zip(subjects, values, strict=True):
            wide = 1.96 * (value * (1 - value) / 1200) ** 0.5
            rows.append(
                {**shared, "subject": subject, "value": value, "low": value - wide, "high": value + wide, "seed": 0}
            )
        for baseline, value in zip(subjects[1:], values[1:], strict=True):
            gained = values[0] - value
            sure = "conclusive" if abs(gained) > 0.032 else "not yet"
            pairs.append({**shared, "subject": "trained", "baseline": baseline, "difference": gained,
                          "low": gained - 0.032, "high": gained + 0.032, "verdict": sure})  # fmt: skip
    by_class, prior = by_classes()
    evaluation = {"scores": rows, "comparisons": pairs, "per_class": {"probe": "kNN (k=20)", "rows": by_class},
                  "prior": {"rows": prior, "sentence": None}, "seed": 0}  # fmt: skip
    return {"data": "Folder('photos')", "evaluations": [evaluation], "label_free": LABEL_FREE}


def series(run: Run, steps: int) -> None:
    draw = np.random.default_rng(2)
    for step in range(1, steps + 1):
        loss = 2.3 + 3.1 * math.exp(-step / 160) + 0.5 * math.exp(-step / 900) + 0.12 * draw.normal()
        right = 1 - math.exp(-step / 300) + 0.02 * draw.normal()
        run.append(
            "series", {"step": step, "loss": loss, "top-1 accuracy": 0.6 * right, "gradient norm": 1 + draw.gamma(2)}
        )
        seconds = 0.48 + 0.05 * draw.random()
        run.append("pace", {"step": step, "seconds": seconds, "waiting": 0.07 * seconds, "images": 256})
        if step % 100 == 0:
            knn = 0.46 + 0.14 * (1 - math.exp(-step / 350)) + 0.008 * draw.normal()
            view = 0.4 + 0.5 * (1 - math.exp(-step / 250))
            for name, value, before in (("kNN accuracy", knn, 0.455), ("view retrieval", view, 0.402)):
                ends = {"low": value - 0.03, "high": value + 0.03}
                run.append(
                    "probes", {"step": step, "name": name, "value": value, **ends, "untrained": before, "n": 1000}
                )


def recipe() -> dict[str, Any]:
    return {
        "data": {"class_path": "selfsight.sources.folder.Folder", "init_args": {"path": "pictures/photos"}},
        "task": {"class_path": "selfsight.tasks.simclr.SimCLR", "init_args": {"temperature": 0.2, "width": 128}},
        "encoder": {"class_path": "selfsight.encoders.small.Small", "init_args": {"width": 64}},
        "size": None, "minutes": 10.0, "batch": 256, "seed": 0, "precision": "auto",
        "optimizer": {"name": "adamw", "learning_rate": 0.001, "warmup": 0.1},
    }  # fmt: skip


def environment() -> dict[str, Any]:
    return {
        "versions": {"selfsight": "0.1.0", "python": "3.11.2", "torch": "2.14.0+cpu", "numpy": "2.2.1"},
        "machine": {"processor": "An ordinary processor", "cores": 2, "memory_gib": 8.0, "device": "cpu"},
        "git": "4c1d2e9", "started": "2026-11-21T14:03:07",
        "command": ["selfsight", "pretrain", "pictures/my photos", "--out", "runs/a"],
    }  # fmt: skip


def plan() -> dict[str, Any]:
    return {
        "steps": PLANNED, "images": 4800, "batch": 256, "size": 48, "channels": 3, "precision": "bf16-mixed",
        "precision_reason": "timed 1.6 x as fast as fp32", "encoder": "Small", "dim": 256, "parameters": 1_234_567,
        "constant": 6.236, "constant_note": "ln(2N-1): all 511 candidates alike", "task": "SimCLR", "skipped": 3,
        "duplicates": 2,
    }  # fmt: skip


def build(folder: Path, steps: int = STEPS) -> Run:
    """A whole run in `folder`."""
    run = Run.create(folder)
    run.write("recipe", recipe())
    run.write("environment", environment())
    run.write("plan", plan())
    run.write("scores", scores())
    series(run, steps)
    exhibits(folder / "exhibits")
    with open(folder / "skipped.csv", "w", newline="") as file:
        csv.writer(file).writerows([("name", "reason"), ("notes.jpg", "not an image"), ("half.png", "truncated"),
                                    (f"{SCRIPT}.jpg", "not an image")])  # fmt: skip
    with open(folder / "duplicates.csv", "w", newline="") as file:
        csv.writer(file).writerows([("group", "name", "split", "across"), (0, "a/1.png", "train", "yes"),
                                    (0, "b/1.png", "val", "yes")])  # fmt: skip
    return run


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with everything in it. To be read only."""
    return build(tmp_path_factory.mktemp("whole") / "runs" / "a")


@pytest.fixture
def bare_run(tmp_path: Path) -> Run:
    """A run that was killed before its first step."""
    run = Run.create(tmp_path / "bare")
    run.write("recipe", recipe())
    return run


@pytest.fixture
def evidence_of() -> Callable[..., Any]:
    """Builds an Evidence that holds what is given and nothing else."""
    from selfsight.reporting.evidence import Evidence

    def make(**known: Any) -> Evidence:
        empty: dict[str, Any] = {
            name: {} for name in ("recipe", "environment", "plan", "scores", "exhibits", "puzzles")
        }
        lists: dict[str, Any] = {name: [] for name in ("findings", "series", "pace", "probes", "skipped", "duplicates")}
        return Evidence(**{"path": Path("runs/a"), **empty, **lists, **known})

    return make
