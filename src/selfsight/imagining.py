"""`imagine`: answers to what a corruption leaves of every image, made once and kept, and a page of what they are worth.

What is asked of them: is an answer still of the image's class, as its nearest labelled neighbours tell; how different
are two answers; and where.

Shapes: N images, M of them asked about, K answers to each, C channels, S side, D embedding.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from selfsight.answerer import Answerer, Precision
from selfsight.corruption import Corruption
from selfsight.corruptions import spelling
from selfsight.embedding import embed_images
from selfsight.encoder import Encoder
from selfsight.encoders import stored
from selfsight.errors import UserError
from selfsight.imagined import Imagined, Writing, writing
from selfsight.maths.interval import mean_interval
from selfsight.maths.nearest import mean, unit
from selfsight.reporting.answers import Restored
from selfsight.reporting.imagined import Told, write_imagined
from selfsight.run import write_json
from selfsight.seeds import generator, seed_of
from selfsight.sources.guess import located
from selfsight.store import Store
from selfsight.storing import open_store
from selfsight.views.generated import imagine as imagined_of

AT_ONCE = 128
"""Images answered to in one pass."""
OWN = (
    "The restorer's own encoder learned from corrupted pictures: whole images, what was left of them and answers "
    "may lie apart in it whatever they show. --through a run that compared whole images, by SimCLR, tells more."
)
ASKED, NEIGHBOURS, DRAWN = 1000, 10, 12
"""Images that quality is measured on, neighbours of each that vote, and pictures on the page."""


def imagine(
    run: str | os.PathLike[str],
    data: Any,
    *,
    answers: int = 4,
    out: str | os.PathLike[str] = "answers.store",
    corruption: Corruption | None = None,
    through: str | os.PathLike[str] | None = None,
    precision: Precision = "auto",
    seed: int = 0,
    console: Console | None = None,
) -> Path:
    """Makes answers to what a corruption leaves of every image of `data`, in a folder that --restorer takes.

    answers: K; corruption: what is taken, the run's own where not given; through: a run or .safetensors file whose
    encoder says what is near, the restorer's own where not given. Beside the answers lies quality.html. -> the folder.
    Raises UserError where the run is none of a restorer, or `out` is there already.
    """
    if answers < 2:
        raise UserError(f"--answers is a number of answers to each image, at least 2, not {answers}.")
    console, restorer, place = console or Console(stderr=True), Answerer.open(run), Path(out)
    encoder = stored(str(through)) if through else restorer.encoder
    taken = corruption or restorer.corruption
    doubts = [*restorer.doubts, *restorer.unseen([taken])]
    for doubt in doubts:
        console.print(doubt, highlight=False, markup=False, soft_wrap=True)
    _sees(encoder, restorer.encoder.channels, restorer.encoder.size, str(through or run))
    store = _store(data, restorer.encoder, console)
    with writing(place, (len(store), answers, *store.images.shape[1:])) as folder:
        about = {"run": str(Path(run).resolve()), "corruption": spelling(taken), "store": store.key, "seed": seed}
        pace = _fill(folder, store, restorer, taken, precision, seed, console)
        folder.close({**about, "doubts": doubts, **pace})
    console.print(
        f"{len(store):,} images, {answers} answers to each, in {place}: "
        f"{pace['images_per_second']:,.0f} images a second",
        highlight=False,
        soft_wrap=True,
    )
    told = judged(Imagined.open(place), store, encoder, str(through or run), seed)
    told = replace(told, notes=[*doubts, *told.notes, *([] if through else [OWN])])
    write_json(place / "quality.json", {"notes": told.notes, "numbers": told.numbers})
    write_imagined(told, place / "quality.html")
    for name, value in told.numbers.items():
        console.print(f"  {name}: {value}", highlight=False, soft_wrap=True)
    return place


def _fill(
    folder: Writing,
    store: Store,
    restorer: Answerer,
    taken: Corruption,
    precision: Precision,
    seed: int,
    console: Console,
) -> dict[str, float]:
    """Makes the answers, and tells how long it took."""
    began, answers = time.perf_counter(), folder.shape[1]
    columns = (TextColumn("imagining"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task("", total=len(store))
        for number, start in enumerate(range(0, len(store), AT_ONCE)):
            rows = slice(start, min(start + AT_ONCE, len(store)))
            images = torch.from_numpy(np.array(store.images[rows])).permute(0, 3, 1, 2)
            draws = generator(seed, "imagine", number)
            folder.put(rows, images, imagined_of(restorer, taken, images, answers, draws, precision))
            bar.update(row, completed=rows.stop)
    seconds = time.perf_counter() - began
    return {"seconds": round(seconds, 2), "images_per_second": round(len(store) / seconds, 1)}


def _store(data: Any, encoder: Encoder, console: Console) -> Store:
    """The images as the restorer takes them."""
    source = located(data)
    store = open_store(source, encoder.size, console)
    if store.images.shape[3] != encoder.channels:
        store = open_store(source, encoder.size, console, channels=encoder.channels)
    return store


def _sees(encoder: Encoder, channels: int, size: int, through: str) -> None:
    """Raises UserError where an encoder cannot look at answers of so many channels and pixels."""
    if (encoder.channels, encoder.size) != (channels, size):
        raise UserError(
            f"The encoder of {through} sees {encoder.channels} channels and {encoder.size} pixels, and the answers "
            f"have {channels} and {size}: look through another."
        )


def judged(kept: Imagined, store: Store, encoder: Encoder, through: str, seed: int = 0) -> Told:
    """What the answers to a store's images are worth, seen through an encoder."""
    _sees(encoder, kept.answers.shape[4], kept.answers.shape[2], through)
    rows = np.sort(np.random.default_rng(seed_of(seed, "judged")).permutation(len(store))[:ASKED])
    pictures = kept.answers[rows]
    every = embed_images(encoder, store.images)
    left = embed_images(encoder, np.ascontiguousarray(kept.left[rows]))
    m, k = pictures.shape[:2]
    z = embed_images(encoder, pictures.reshape(-1, *pictures.shape[2:])).reshape(m, k, -1)
    numbers = {**_pixels_apart(pictures, store.images[rows]), **_features_apart(z, every[rows], every)}
    notes = [f"Seen through the encoder of {through}; {m:,} of {len(store):,} images."]
    numbers |= _class_kept(store, rows, every, left, z, seed, notes)
    about = dict(kept.about)
    shown = [_shown(kept, store, i) for i in rows[:: max(1, len(rows) // DRAWN)][:DRAWN]]
    deviation = (pictures.astype(np.float32) / 255).std(1).mean((0, 3))
    return Told(shown, deviation, numbers, notes, about)


def _pixels_apart(answers: np.ndarray, truths: np.ndarray) -> dict[str, str]:
    """(M, K, S, S, C) and (M, S, S, C) uint8 -> mean absolute differences, of 1."""
    two, truth = (x.astype(np.float32) / 255 for x in (answers[:, :2], truths))
    return {
        "pixels: between two answers to an image": f"{np.abs(two[:, 0] - two[:, 1]).mean():.4f}",
        "pixels: from an answer to its image": f"{np.abs(two[:, 0] - truth).mean():.4f}",
        "pixels: between two images": f"{np.abs(truth - np.roll(truth, 1, 0)).mean():.4f}",
    }


def _features_apart(z: np.ndarray, truths: np.ndarray, every: np.ndarray) -> dict[str, str]:
    """(M, K, D), (M, D), (N, D) -> mean cosines about the images' mean."""
    centre = mean(every)
    one, two, truth = (unit(np.ascontiguousarray(x), centre) for x in (z[:, 0], z[:, 1], truths))
    return {
        "features: cosine of two answers to an image": f"{float((one * two).sum(1).mean()):.3f}",
        "features: of an answer and its image": f"{float((one * truth).sum(1).mean()):.3f}",
        "features: of two images": f"{float((truth * truth.roll(1, 0)).sum(1).mean()):.3f}",
    }


def _class_kept(
    store: Store, rows: np.ndarray, every: np.ndarray, left: np.ndarray, z: np.ndarray, seed: int, notes: list[str]
) -> dict[str, str]:
    """How often the nearest labelled images, itself and its copies left out, are of the image's class."""
    codes = store.labels().codes
    asked = np.flatnonzero(codes[rows] >= 0)
    bank = np.flatnonzero(codes >= 0)
    if len(np.unique(codes[bank])) < 2 or not len(asked):
        notes.append("The images have no labels of two classes, so that nothing can be said of what an answer is of.")
        return {}
    centre = mean(every[bank])
    keys, hashes = unit(every[bank], centre), np.array(store.hashes)
    own = torch.from_numpy(hashes[rows[asked]][:, None] == hashes[bank][None])
    labels, wanted = torch.from_numpy(codes[bank]), torch.from_numpy(codes[rows[asked]])

    def right(features: np.ndarray) -> np.ndarray:
        alike = (unit(np.ascontiguousarray(features), centre) @ keys.T).masked_fill(own, -torch.inf)
        near = labels[alike.topk(min(NEIGHBOURS, len(bank) - 1), 1).indices]
        votes = torch.nn.functional.one_hot(near, int(labels.max()) + 1).sum(1)
        return np.asarray((votes.argmax(1) == wanted).float().numpy())

    truth, remains = right(every[rows[asked]]), right(left[asked])
    answers = np.mean([right(z[asked, k]) for k in range(z.shape[1])], 0)
    most = np.bincount(codes[bank]).max() / len(bank)
    told = {
        f"class by {NEIGHBOURS} neighbours, of the image": truth,
        "of what was left of it": remains,
        "of an answer": answers,
        "of the image, less of an answer": truth - answers,
        "of an answer, less of what was left": answers - remains,
    }
    said = dict[str, str]()
    for name, each in told.items():
        low, high = mean_interval(each, seed)
        said[name] = f"{100 * each.mean():.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    return {**said, "the largest class": f"{100 * most:.1f} %"}


def _shown(kept: Imagined, store: Store, i: int) -> Restored:
    deviation = (kept.answers[i].astype(np.float32) / 255).std(0).mean(2)
    numbers = {
        "removed": float(kept.removed[i]),
        "two answers differ by": float(np.abs(kept.answers[i, 0].astype(float) - kept.answers[i, 1]).mean() / 255),
    }
    differ = deviation / max(float(deviation.max()), 1e-6)
    return Restored(store.names[i], store.images[i], kept.left[i], list(kept.answers[i]), differ, numbers)
