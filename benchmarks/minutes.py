"""How many minutes to what others reach in ten, and how good after ten?

    python benchmarks/minutes.py --data DATA --minutes 10 --seeds 3 --out benchmarks/results/minutes.json [--threads 2]

Two sets of benchmarks/quality.py, emoji and pieces of photographs without their colour, at 64 pixels; the same encoder for
all, selfsight's default (of gray pieces lightly reads three equal channels), and the same training images, which lie in WORK as files. selfsight as it comes (SimCLR, no field
set) is trained for a sixth, a third and all of the minutes; lightly by each method of `lightly_methods.py` for all of
them, in an environment of its own (see speed.py), and by as many threads. Nearest neighbours and logistic regression on
validation images, the same code for all. Claims: the shortest of our trainings whose kNN accuracy, mean of the seeds,
is lightly's SimCLR's or more, as a share of its minutes, by the longest it really took; and ours after all minutes less that of lightly's best method,
an interval over seeds. Each training is kept in WORK as it ends; a second call goes on where the first stopped.
Trainings are timed by the clock: leave the machine alone, or pin two calls to a core each with --threads 1.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from imagined_views import judged
from PIL import Image
from quality import SETS
from record import Claim, conclude, interval, kept, parser
from rich.console import Console
from safetensors.torch import load_file
from speed import WANTED, WORKERS, environment

import selfsight
from selfsight.encoders import Small
from selfsight.sources import Packed
from selfsight.store import Packing, Store, pack
from selfsight.storing import learned_from
from selfsight.verbs import encoder_of

SIDE = 64
PLACES = ("emoji", "patches_gray")
SHARES = (1 / 6, 1 / 3, 1.0)
"""Of the minutes, for which we are trained."""
OTHERS = ("SimCLR", "SimCLR, AdamW", "VICReg", "BarlowTwins", "BYOL")
RIVAL = "lightly SimCLR"


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    given.add_argument("--sets", default=",".join(PLACES), help="comma-separated")
    given.add_argument("--minutes", type=float, default=10.0)
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--threads", type=int, help="of each training; all where not given")
    given.add_argument("--methods", default=";".join(OTHERS), help="of lightly, parted by semicolons")
    given.add_argument("--peers", type=Path, default=Path("runs/speed/lightly"), help="where lightly's environment is")
    given.add_argument("--work", type=Path, default=Path("runs/minutes"), help="where results are kept as they come")
    words = given.parse_args()
    if words.quick:
        words.minutes, words.seeds, words.sets, words.methods = 2.0, 1, PLACES[0], "SimCLR"
    torch.set_num_threads(words.threads or torch.get_num_threads())
    rows = [row for place in words.sets.split(",") for row in _rows(place, words)]
    conclude("minutes", list(claims(rows, words.minutes)), rows, words.out)


def _rows(place: str, words: Any) -> Iterator[dict[str, Any]]:
    """Ours and lightly's, seed by seed."""
    work = words.work / place
    work.mkdir(parents=True, exist_ok=True)
    if (work / "images.store" / "store.json").exists():
        store = Store.open(work / "images.store")
    else:
        made = SETS[place].source(words.data / SETS[place].place, work)
        store = pack(made, Packing(size=SIDE), out=work / "images.store")
    python = environment(words.peers, WANTED["lightly"])
    workers = best_workers(words.work, python, files(store, work / "files")) if python else 0
    for seed in range(words.seeds):
        for share in SHARES:
            yield _kept(work, "selfsight", share * words.minutes, seed, ours, store, words)
        for method in words.methods.split(";") if python else ():
            given = (store, words, python, method, files(store, work / "files"), workers)
            yield _kept(work, f"lightly {method}", words.minutes, seed, theirs, *given)


def _kept(work: Path, way: str, minutes: float, seed: int, make: Any, store: Store, words: Any, *rest: Any) -> Any:
    told = {"set": work.name, "way": way, "minutes": minutes, "seed": seed, "threads": torch.get_num_threads()}
    row = kept(
        work / f"{way} {minutes:.3g} {seed} {told['threads']}.json", told, make, store, minutes, seed, work, *rest
    )
    print(
        f"{work.name:13} {way:22} {minutes:5.2f} min  {seed}  {row['images_per_second']:6.1f} images/s"
        f"  kNN {row['knn']:.3f}  linear {row['linear']:.3f}",
        flush=True,
    )
    return row


def ours(store: Store, minutes: float, seed: int, work: Path) -> dict[str, Any]:
    """selfsight as it comes, without its doctor; the running probe's time is not counted, as lightly has none."""
    out = work / f"run {minutes:.3g} {seed} {torch.get_num_threads()}"
    shutil.rmtree(out, ignore_errors=True)  # of a call that was stopped
    run = selfsight.pretrain(
        Packed(str(store.path)), minutes=minutes, seed=seed, out=out, doctor="off", console=Console(quiet=True)
    )
    pace = run.lines("pace")
    images, seconds = (sum(line[name] for line in pace) for name in ("images", "seconds"))
    took = {"took_minutes": seconds / 60, "images_per_second": images / seconds}
    return {"steps": len(pace), **took, **scores(store, encoder_of(out), seed)}


def theirs(
    store: Store, minutes: float, seed: int, work: Path, python: str, method: str, folder: Path, workers: int
) -> dict[str, Any]:
    """By lightly, in a process of its own."""
    weights = work / f"{method} {seed}.safetensors"
    told = by_lightly(python, method, folder, minutes, seed, workers, weights)
    encoder = Small().build(3, SIDE)
    encoder.load_state_dict(load_file(weights))
    shown = replace(store, images=np.repeat(store.images, 3 // store.images.shape[3], 3))  # as lightly read them
    return {**told, "workers": workers, **scores(shown, encoder.eval(), seed)}


def by_lightly(
    python: str, method: str, folder: Path, minutes: float, seed: int, workers: int, out: Path
) -> dict[str, Any]:
    """Its steps and images a second; the encoder's weights are written to `out`."""
    given = {"folder": folder, "minutes": minutes, "seed": seed, "size": SIDE, "workers": workers, "out": out}
    given["threads"] = torch.get_num_threads()
    command = [python, str(Path(__file__).with_name("lightly_methods.py")), method]
    command += [word for name, value in given.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def best_workers(work: Path, python: str, folder: Path) -> int:
    """With how many workers lightly's SimCLR is fastest here, by a third of a minute of each; timed once."""
    threads = torch.get_num_threads()

    def timed() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "encoder.safetensors"
            told = {n: by_lightly(python, "SimCLR", folder, 1 / 3, 0, n, out)["images_per_second"] for n in WORKERS}
        return {"best": max(told, key=lambda n: told[n]), "images_per_second": told}

    return int(kept(work / f"workers {threads}.json", {}, timed)["best"])


def scores(store: Store, encoder: Any, seed: int) -> dict[str, float]:
    return {name: score.value for name, score in zip(("knn", "linear"), judged(store, encoder, seed), strict=True)}


def files(store: Store, folder: Path) -> Path:
    """The training images as PNGs in one folder, in colour, as lightly reads them. Written once."""
    rows = learned_from(store)
    folder.mkdir(exist_ok=True)
    if len(list(folder.iterdir())) < len(rows):
        for row in rows:
            Image.fromarray(store.images[row].squeeze()).convert("RGB").save(folder / f"{row:06}.png")
    return folder


def claims(rows: Sequence[dict[str, Any]], minutes: float) -> Iterator[Claim]:
    """See the top of this file."""
    for place in dict.fromkeys(row["set"] for row in rows):
        told: dict[tuple[str, float], dict[int, float]] = {}
        for row in rows:
            if row["set"] == place:
                told.setdefault((row["way"], row["minutes"]), {})[row["seed"]] = 100 * row["knn"]
        own = {length: values for (way, length), values in told.items() if way == "selfsight"}
        others = {way: values for (way, _), values in told.items() if way != "selfsight"}
        if RIVAL in others:
            sought = statistics.fmean(others[RIVAL].values())
            enough = sorted(length for length, values in own.items() if statistics.fmean(values.values()) >= sought)
            took = [row.get("took_minutes", 0) for row in rows if row["set"] == place and row["minutes"] in enough[:1]]
            share = max(min(enough), *took) / minutes if enough else float("inf")
            name = f"{place}: share of the minutes in which {RIVAL}'s kNN accuracy is reached"
            yield Claim(name, share, share, share, len(others[RIVAL]), 1 / 3, share <= 1 / 3)
        if others:
            best = max(others, key=lambda way: statistics.fmean(others[way].values()))
            pairs = [(own[minutes][seed], other) for seed, other in others[best].items() if seed in own[minutes]]
            middle, low, high = interval([one - other for one, other in pairs])
            name = f"{place}: points of kNN accuracy above {best}, lightly's best, after {minutes:g} minutes"
            yield Claim(name, middle, low, high, len(pairs), 0.0, low > 0)


if __name__ == "__main__":
    main()
