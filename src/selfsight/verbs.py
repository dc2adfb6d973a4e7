"""What can be done with a run or a folder of images besides training: evaluate, show, embed, export, report, pack.

Each is a function with the words of its command.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from selfsight.apart import Apart
from selfsight.beginnings import beginnings
from selfsight.checkpoint import load_encoder
from selfsight.config import configure
from selfsight.corruption import Corruption
from selfsight.corruptions import spelled, spelling
from selfsight.drawing import draw, draw_corruptions, example_of
from selfsight.embedding import embed_images, write_embeddings
from selfsight.encoder import Backbone, Encoder, without_weights
from selfsight.errors import UserError
from selfsight.evaluation import Evaluation, baseline_subjects, evaluate_subjects
from selfsight.graph import write_onnx
from selfsight.images.picked import Picked
from selfsight.probe import Labelled, Probe, Subject
from selfsight.reading import Reading
from selfsight.recipe import to_json
from selfsight.run import Run, replacing
from selfsight.seeds import seed_of
from selfsight.source import Source
from selfsight.sources.guess import located
from selfsight.store import Packing, Store
from selfsight.store import pack as pack_store
from selfsight.storing import natural_size, open_store, say_left_out
from selfsight.task import Task
from selfsight.tasks import Decompose, Saliency, Tokens

VALIDATED = 0.3
"""Share of the labelled images that are asked for where the source has no val split."""
DRAWN = 6
SUPERVISED_EPOCHS = 20
SEEN = "These images were trained on, without their labels: the set has no val split of its own."


def backbone_of(described: Any) -> Backbone:
    """The backbone that an exported file names, without its starting weights: those are in the file."""
    started = {"weights": None} if "weights" in described["init_args"] else {}
    settings = {**described, "init_args": {**described["init_args"], **started}}
    return configure({"data": {"class_path": "Folder", "init_args": {"path": "."}}, "encoder": settings}).backbone


def encoder_of(run: str | os.PathLike[str]) -> Encoder:
    """The encoder of a run's folder or of an exported .safetensors file, ready to answer."""
    return load_encoder(str(run), backbone_of)


def evaluate(
    run: str | os.PathLike[str],
    data: Any = None,
    *,
    probes: Sequence[Probe] | None = None,
    supervised: bool = False,
    tokens: bool = False,
    seed: int = 0,
    console: Console | None = None,
) -> Evaluation:
    """Judges a run's encoder on labelled images, beside raw pixels, hand-made features and the same encoder untrained.

    data: a path or Source with labels, the run's own images where not given. Its train and val splits are used; where
    it has none, a part of the images is kept aside. supervised: also train the same encoder on labels alone. tokens:
    also judge beginnings of the spelling, of a run of Tokens. Results are kept in the run. Raises UserError where there
    are no labels.
    """
    from selfsight.probes import KNN, Logistic

    opened, console = Run.open(run), console or Console(stderr=True)
    recipe, encoder = configure(opened.json("recipe")), encoder_of(run)
    source = recipe.source if data is None else located(data)
    store = fitting_store(source, encoder, console)
    train, val, classes, codes = divide(store, seed)
    pictures = Picked(store.images, train), Picked(store.images, val)  # read where they lie: they may be many
    subjects = _subjects(recipe.backbone, encoder, pictures, classes, codes, recipe.seed)
    chosen = list(probes) if probes is not None else [KNN(), Logistic()]
    if supervised:
        subjects.append(_supervised(subjects[1], seed))
    with console.status("evaluating") as status:
        if tokens:
            subjects += beginnings(run, subjects[0].train, subjects[0].val, classes, seed)
        subjects += baseline_subjects(
            pictures[0], codes[train], pictures[1], codes[val], classes,
            progress=lambda done, total: status.update(f"hand-made features: {done:,} of {total:,}"),
        )  # fmt: skip
        evaluation = evaluate_subjects(
            subjects, chosen, seed, progress=lambda done, total: status.update(f"judging: {done} of {total}")
        )
    if source == recipe.source and not (store.splits == "val").any():
        evaluation.notes.append(SEEN)
    _keep(opened, evaluation, source)
    say_left_out(store, console, store.path / "skipped.csv")
    return evaluation


def transfer(
    run: str | os.PathLike[str],
    data: Any = None,
    *,
    epochs: Sequence[int] = (),
    minutes: Sequence[float] = (),
    supervised: bool = False,
    seed: int = 0,
    console: Console | None = None,
) -> Evaluation:
    """Fine-tunes a run's encoder on the train split and judges it on val, as the ImageWang leaderboard asks.

    There validation holds classes of which training has a tenth as many images as of the others, and a network that
    follows the prior scores near nothing. So each length is told twice: as it is, and with every class drawn as often
    and only validation's predicted. epochs, minutes: the lengths; 5, 20, 80 and 200 epochs where neither is given.
    data: labelled images with train and val; the run's own where not given. Raises UserError where there are no labels,
    a number of epochs is below 1, or minutes are not above 0.
    """
    from selfsight.probes import FineTune

    if min(epochs, default=1) < 1 or not all(0 < each < float("inf") for each in minutes):
        raise UserError(f"epochs are at least 1 and minutes above 0, not {list(epochs)} and {list(minutes)}.")
    lengths: list[dict[str, Any]] = [{"minutes": each} for each in minutes]
    lengths += [{"epochs": each} for each in epochs or (() if minutes else (5, 20, 80, 200))]
    probes = [
        FineTune(**length, least=0, balanced=even, restrict_to_val=even) for length in lengths for even in (False, True)
    ]
    return evaluate(run, data, probes=probes, supervised=supervised, seed=seed, console=console)


def _keep(run: Run, evaluation: Evaluation, source: Source) -> None:
    """Adds an evaluation to the run's scores."""
    scores = run.json("scores")
    scores["data"] = str(getattr(source, "path", source))
    scores.setdefault("evaluations", []).append(evaluation.to_json())
    run.write("scores", scores)


def fitting_store(source: Source, encoder: Encoder, console: Console) -> Store:
    """The images of `source` as the encoder takes them; the store they were trained from, where it fits."""
    store = open_store(source, encoder.size, console)
    if store.images.shape[3] == encoder.channels:
        return store
    return open_store(source, encoder.size, console, channels=encoder.channels)


def divide(store: Store, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], np.ndarray]:
    """(train, val, classes, codes): rows to learn from and to be asked about, by the store's splits or by a draw.

    A draw never parts images of equal content. Raises UserError where labels are missing.
    """
    labels = store.labels()
    known = labels.codes >= 0
    if len(np.unique(labels.codes[known])) < 2:
        raise UserError(
            f"{store.path.name}: evaluating needs images of at least two classes, there are "
            f"{len(np.unique(labels.codes[known]))}. "
            "Give --data a folder with one folder per class, or a table with a label column."
        )
    train, val = np.flatnonzero(known & (store.splits != "val")), np.flatnonzero(known & (store.splits == "val"))
    if not len(train):
        raise UserError("All labelled images belong to the val split: there are none to fit a probe on.")
    if not len(val):
        groups, rows = np.unique(np.array(store.hashes)[train], return_inverse=True)
        kept = np.random.default_rng(seed_of(seed, "divide")).random(len(groups)) < VALIDATED
        train, val = train[~kept[rows]], train[kept[rows]]
    if not len(val):
        raise UserError(f"{len(train)} labelled images are too few to keep some aside for evaluating.")
    return train, val, labels.classes, labels.codes


def _subjects(
    backbone: Backbone,
    encoder: Encoder,
    pictures: tuple[Picked, Picked],
    classes: tuple[str, ...],
    codes: np.ndarray,
    seed: int,
) -> list[Subject]:
    def fresh() -> Encoder:
        return without_weights(backbone).build(encoder.channels, encoder.size, seed)

    def trained() -> Encoder:
        copy = fresh()
        copy.load_state_dict(encoder.state_dict())
        return copy

    return [
        _subject(name, build, pictures, classes, codes) for name, build in (("trained", trained), ("untrained", fresh))
    ]


def _subject(
    name: str, build: Any, pictures: tuple[Picked, Picked], classes: tuple[str, ...], codes: np.ndarray
) -> Subject:
    encoder = build().eval()
    known, asked = (Labelled(embed_images(encoder, part), codes[part.rows], part) for part in pictures)
    return Subject(name, known, asked, classes, build)


def _supervised(untrained: Subject, seed: int) -> Subject:
    """The same encoder trained on the labels from scratch: what labels alone would have given."""
    from selfsight.probes import FineTune

    training = FineTune(epochs=SUPERVISED_EPOCHS, frozen_epochs=0, head_rate=3e-3, encoder_rate=3e-3)
    encoder, _ = training.trained(untrained, seed)
    encoder.eval().requires_grad_(False)
    known, asked = (
        replace(part, features=embed_images(encoder, part.images)) for part in (untrained.train, untrained.val)
    )
    return Subject("supervised", known, asked, untrained.classes, lambda: copy.deepcopy(encoder))


def show(
    what: Task | Corruption | str | Sequence[Corruption],
    data: Any,
    *,
    out: str | os.PathLike[str] | None = None,
    size: int | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> Path:
    """Draws what is done to some images of `data`, as a PNG. -> its path.

    what: a task, of which is drawn what it asks of the network; or corruptions, of which is drawn what they leave: one,
    several, or their names, "blur,decolour+downsample".
    """
    if isinstance(what, str):
        what = [spelled(name) for name in what.split(",")]
    store = open_store(located(data), size, console or Console(stderr=True))
    rows = np.sort(np.random.default_rng(seed_of(seed, "drawn")).permutation(len(store))[:DRAWN])
    images = store.images[rows]
    if isinstance(what, Task):
        name, sheet = type(what).__name__.lower(), draw(what, example_of(what, store.images, rows, seed), images)
    else:
        corruptions = [what] if isinstance(what, Corruption) else list(what)
        name = spelling(corruptions[0]).replace("/", "-or-") if len(corruptions) == 1 else "corruptions"
        sheet = draw_corruptions(corruptions, images, seed)
    path = Path(out) if out is not None else Path(f"{name}.png")
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")
    return path


def embed(
    run: str | os.PathLike[str], data: Any, *, out: str | os.PathLike[str], console: Console | None = None
) -> Path:
    """Writes the embeddings and names of the images in `data` to .npz or .parquet. -> its path.

    Of a run of Tokens the tokens too, (N, T, D): any beginning of a row is an embedding. Of one of Decompose or
    Saliency its masks, (N, K, S, S) float16.
    """
    console, encoder = console or Console(stderr=True), encoder_of(run)
    store = fitting_store(located(data), encoder, console)
    embeddings = embed_images(encoder, store.images)
    labels = store.labels()
    named = [labels.classes[code] if code >= 0 else "" for code in labels.codes] if len(labels.classes) else None
    write_embeddings(Path(out), embeddings, store.names, named, _also(run, store))
    say_left_out(store, console, store.path / "skipped.csv")
    console.print(f"{embeddings.shape[0]:,} images x {embeddings.shape[1]} features in {out}", highlight=False)
    return Path(out)


def _also(run: str | os.PathLike[str], store: Store) -> dict[str, np.ndarray]:
    """What a run makes of images beside embeddings: tokens, or masks."""
    if not (Path(run) / "recipe.json").exists():
        return {}
    task = configure(Run.open(run).json("recipe")).task
    if isinstance(task, Tokens):
        return {"tokens": Reading.open(run).tokens(store.images)}
    return {"masks": Apart.open(run).masks(store.images)} if isinstance(task, Decompose | Saliency) else {}


def export(run: str | os.PathLike[str], to: str | os.PathLike[str], *, console: Console | None = None) -> Path:
    """Writes the run's encoder as .safetensors (weights, with how to build it) or .onnx (a graph). -> its path."""
    encoder, path = encoder_of(run), Path(to)
    if path.suffix == ".safetensors":
        from selfsight.checkpoint import save_encoder

        save_encoder(path, encoder, to_json(configure(Run.open(run).json("recipe")).backbone), {})
    elif path.suffix == ".onnx":
        write_onnx(path, encoder)
    else:
        raise UserError(
            f"The encoder is exported as .safetensors or .onnx, not as {path.name!r}: give --to a name with "
            "one of these endings."
        )
    (console or Console(stderr=True)).print(f"encoder of {encoder.dim} features in {path}", highlight=False)
    return path


def report(run: str | os.PathLike[str], *, out: str | os.PathLike[str] | None = None) -> Path:
    """Writes the run's report, one HTML file. -> its path."""
    from selfsight.reporting import write_report

    return write_report(Run.open(run), Path(out) if out is not None else None)


def pack(
    data: Any,
    *,
    out: str | os.PathLike[str] | None = None,
    size: int | None = None,
    fit: str = "crop",
    console: Console | None = None,
) -> Store:
    """Decodes the images in `data` once, into a store that every command takes in place of the images."""
    console, source = console or Console(stderr=True), located(data)
    packing = Packing(size=size or natural_size(source.open()), fit=fit)  # type: ignore[arg-type]
    with console.status("decoding images") as status:
        store = pack_store(
            source,
            packing,
            out=out,
            progress=lambda done, total: status.update(f"decoding images: {done:,} of {total:,}"),
        )
    side, channels = store.images.shape[1], store.images.shape[3]
    console.print(
        f"{len(store):,} images of {side} x {side}, {'gray' if channels == 1 else 'colour'}, in {store.path}",
        highlight=False,
        soft_wrap=True,
    )
    say_left_out(store, console, store.path / "skipped.csv")
    return store
