"""How much faster, than whom, and how near to the limit?

    python benchmarks/speed.py --out benchmarks/results/speed.json [--rounds 3] [--work runs/speed] [--quick]

SimCLR on a folder of 6,000 JPEGs of 64 pixels (pieces of scikit-image's photographs, made in WORK), batches of 128, end to
end, by every way of `speed_loops.py`, each in a process of its own, in turn, so that a load on the machine meets all alike.
Each rival runs in an environment of its own, made in WORK with this machine's pip; where it cannot be made, it is named and
left out. lightly-train is asked for ResNet-18 alone.
Also: the share of the ceiling, the step of a ViT-tiny beside timm's as it comes, one busy neighbour, how long
`selfsight --help` and the first step of a process take, packing, probes, and what many images cost beside few. A claim is
the median of the rounds' ratios, its interval their range. Rows of each part are kept in WORK as it ends: `--only` makes
some, a second call goes on with the rest.
"""

from __future__ import annotations

import functools
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import speed_bulk as bulk
import torch
from record import Claim, conclude, kept, parser
from rich.console import Console

HERE = Path(__file__).parent
ROOT = HERE.parent

IMAGES = 6000
WORKERS = (0, 1, 2)
"""Among which each rival's best is looked for."""
WANTED = {
    "lightly": ("lightly", "pytorch-lightning"),
    "lightly-train": ("lightly-train",),
    "stable-pretraining": ("stable-pretraining",),
}
"""What each rival's environment holds beside selfsight."""
SMALL = {"lightly": 4.5, "stable-pretraining": 2.0, "tuned": 1.9, "plain": 2.0}
BARS = {"small": SMALL, "resnet18": SMALL | {"lightly": 2.1, "lightly-train": 2.0}}
"""Times as fast as others that are asked for."""


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--rounds", type=int, default=3)
    given.add_argument("--seconds", type=float, default=15.0, help="of steps that are timed, each")
    given.add_argument("--encoders", default="small,resnet18", help="comma-separated")
    given.add_argument("--only", help=f"parts, comma-separated: {', '.join(PARTS)}")
    given.add_argument(
        "--work", type=Path, default=Path("runs/speed"), help="where images, rows and environment are kept"
    )
    words = given.parse_args()
    if words.quick:
        words.rounds, words.encoders, words.seconds = 2, "small", 8.0
        words.only = words.only or "end to end,ceiling,ViT-tiny,start"
    words.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for part in words.only.split(",") if words.only else PARTS:
        beside = [name for name in RIVALS.get(part, ()) if rival(words, name)]
        place = (
            words.work / f"{' '.join([part, words.encoders, str(words.rounds), f'{words.seconds:g}', *beside])}.json"
        )
        rows += kept(place, {}, lambda made: {"rows": list(made(words))}, PARTS[part])["rows"]
    conclude("speed", list(claims(rows)), rows, words.out)


def rival(words: Any, name: str) -> str | None:
    """The Python of an environment with it, made where it is first asked for; None, and why, where there can be none."""
    return environment(words.work / name, WANTED[name])


@functools.cache
def environment(place: Path, wanted: Sequence[str]) -> str | None:
    """Of selfsight and what is wanted beside it."""
    python = place / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            packages = ["torch", "torchvision", *wanted, "-e", str(ROOT)]
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        modules = ", ".join(name.replace("-", "_") for name in wanted)
        subprocess.run([str(python), "-c", f"import {modules}, selfsight"], check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{wanted[0]} is left out: {error}")
        return None
    return str(python)


def jpegs(words: Any) -> str:
    """The folder that every loop learns from."""
    return str(bulk.pieces(words.work / "jpegs", IMAGES, 64))


def end_to_end(words: Any) -> Iterator[dict[str, Any]]:
    """Every encoder by every way, round by round; of a rival all numbers of workers in the first round, the best after."""
    for encoder in words.encoders.split(","):
        ways = [("selfsight", 0), ("tuned", 2), ("plain", 2)]
        ways += [(name, workers) for name in _rivals(words, "end to end", encoder) for workers in WORKERS]
        for turn in range(words.rounds):
            told = []
            for name, workers in ways:
                row = {"what": "end to end", "encoder": encoder, "way": name, "workers": workers, "round": turn}
                told.append(row | _run(name, encoder, words, workers))
                print(f"{encoder:9} {name:18} {workers} {told[-1]['images_per_second']:8.1f} images/s", flush=True)
                yield told[-1]
            ways = [max(some, key=_rate) for _, some in itertools.groupby(told, key=lambda row: row["way"])]
            ways = [(row["way"], row["workers"]) for row in ways]


def _rate(row: dict[str, Any]) -> float:
    return float(row["images_per_second"])


def _rivals(words: Any, part: str, encoder: str) -> list[str]:
    """Who can be made, is asked in this part, and for this encoder."""
    asked = [name for name in RIVALS[part] if name in BARS[encoder]]
    return [name for name in asked if rival(words, name)]


def beside_a_neighbour(words: Any) -> Iterator[dict[str, Any]]:
    """ResNet-18 while another process is busy."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        for turn in range(words.rounds):
            for name in ("selfsight", *_rivals(words, "neighbour", "resnet18")):
                row = {"what": "a busy neighbour", "encoder": "resnet18", "way": name, "round": turn}
                yield row | _run(name, "resnet18", words, 0)
    finally:
        busy.kill()


def _run(name: str, encoder: str, words: Any, workers: int) -> dict[str, Any]:
    """What speed_loops.py tells of one way."""
    python = rival(words, name) if name in WANTED else sys.executable
    out = words.work / "told.json"
    command = [str(python), str(HERE / "speed_loops.py"), name, "--encoder", encoder, "--folder", jpegs(words)]
    command += ["--seconds", str(words.seconds), "--workers", str(workers), "--out", str(out)]
    out.unlink(missing_ok=True)
    began = ["--began", repr(time.time())]
    done = subprocess.run([*command, *began], capture_output=True, text=True, check=False)
    if done.returncode or not out.exists():
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(out.read_text(encoding="utf-8")))


def ceilings(words: Any) -> Iterator[dict[str, Any]]:
    """End to end beside the same step on a batch that is there, at 64 and 28 pixels."""
    import selfsight
    from selfsight.speed import measure

    folder = jpegs(words)
    for turn in range(words.rounds):
        for size in (64, 28):
            speed = measure(selfsight.Recipe(data=selfsight.sources.guess(folder), size=size), Console(stderr=True))
            told = {"share": speed.share, "views": speed.views, "waiting": speed.waiting}
            yield {"what": "share of the ceiling", "size": size, "round": turn, **told}


def attention(words: Any) -> Iterator[dict[str, Any]]:
    """A step of ViT-tiny with 64 patches: timm's as it comes in fp32, and as selfsight takes it, in turn."""
    import timm

    from selfsight.encoders.timm import explicit_attention
    from selfsight.quick import quicken

    pixels = torch.rand(64, 3, 64, 64)
    ways = {}
    for name in ("timm", "selfsight"):
        net = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64, patch_size=8)
        if name == "selfsight":
            explicit_attention(net)
            quicken(net)
        ways[name] = (net, torch.optim.AdamW(net.parameters(), fused=name == "selfsight" or None))
    for turn in range(1 + 3 * words.rounds):
        for name, (net, optimizer) in ways.items():
            began = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=name == "selfsight"):
                loss = net(pixels).float().square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if turn:
                took = time.perf_counter() - began
                yield {"what": "ViT-tiny", "way": name, "round": turn - 1, "images_per_second": len(pixels) / took}


def starts(words: Any) -> Iterator[dict[str, Any]]:
    """Seconds of `selfsight --help`, the files it reads warm; and from a process's start to the end of its first step, where
    selfsight's images are packed already, its steps are timed first, and the doctor is off; lightly decodes as it goes."""
    command = [sys.executable, "-m", "selfsight", "--help"]
    for turn in range(1 + 2 * words.rounds):
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        if turn:
            yield {"what": "--help", "round": turn - 1, "seconds": time.perf_counter() - began}
    for turn in range(words.rounds):
        for encoder in ("small", "resnet18"):
            for name in ("selfsight", *_rivals(words, "start", encoder)):
                row = {"what": "first step", "encoder": encoder, "way": name, "round": turn}
                yield row | _run(name, encoder, words, 0)


def claims(rows: Sequence[dict[str, Any]]) -> Iterator[Claim]:
    """See the top of this file."""
    for encoder in dict.fromkeys(row["encoder"] for row in rows if row["what"] == "end to end"):
        for way, bar in BARS[encoder].items():
            yield from _ratio(rows, "end to end", encoder, way, bar)
    for way in RIVALS["neighbour"]:
        yield from _ratio(rows, "a busy neighbour", "resnet18", way, 5.0)
    yield from _ratio(rows, "ViT-tiny", None, "timm", 3.0)
    for size, bar in ((64, 0.97), (28, 0.93)):
        shares = [row["share"] for row in rows if row["what"] == "share of the ceiling" and row["size"] == size]
        if shares:
            middle = statistics.median(shares)
            name = f"share of the ceiling at {size} px"
            yield Claim(name, middle, min(shares), max(shares), len(shares), bar, middle >= bar)
    helps = [row["seconds"] for row in rows if row["what"] == "--help"]
    if helps:
        middle = statistics.median(helps)
        yield Claim("seconds of selfsight --help", middle, min(helps), max(helps), len(helps), 0.3, middle <= 0.3)
    for encoder, way, bar in (
        ("small", "lightly", 2.0),
        ("resnet18", "lightly", 2.0),
        ("resnet18", "lightly-train", 3.0),
    ):
        yield from _ratio(rows, "first step", encoder, way, bar, unit="first_step", slower=True)
    yield from _ratio(rows, "packing", None, "one core decodes", 1.8)
    for way in ("scikit-learn", "lightly"):
        yield from _ratio(_together(rows), "both probes", None, way, 3.0, unit="seconds", slower=True)
    yield from _flat([row for row in rows if row["what"] == "growth"])


def _together(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Seconds of nearest neighbours and logistic regression together, by way and round."""
    told: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        if row["what"] == "probes":
            told.setdefault((row["way"], row["round"]), {})[row["probe"]] = row["seconds"]
    return [
        {"what": "both probes", "way": way, "round": turn, "seconds": sum(some.values())}
        for (way, turn), some in told.items()
        if len(some) == 2
    ]


def _flat(rows: Sequence[dict[str, Any]]) -> Iterator[Claim]:
    """The dearest image over the cheapest, of round medians: by the number of images, and by batch."""
    for of, fixed in (("images", {"batch": 256}), ("batch", {"images": bulk.GROWN[1]})):
        told: dict[int, list[float]] = {}
        for row in rows:
            if all(row[name] == value for name, value in fixed.items()):
                told.setdefault(row[of], []).append(row["milliseconds_per_image"])
        if told:
            middles = [statistics.median(each) for each in told.values()]
            worst = max(middles) / min(middles)
            yield Claim(f"growth by {of}: dearest over cheapest", worst, worst, worst, len(told), 1.05, worst <= 1.05)


def _ratio(
    rows: Sequence[dict[str, Any]], what: str, encoder: str | None, way: str, bar: float, unit: str = "images_per_second",
    slower: bool = False,
) -> Iterator[Claim]:  # fmt: skip
    """Ours over another's: of each round, its best number of workers. slower: of what should be small."""
    told: dict[tuple[str, int], float] = {}
    for row in rows:
        if row["what"] == what and row.get("encoder") == encoder:
            key = (row["way"], row["round"])
            better = min if slower else max
            told[key] = better(told.get(key, row[unit]), row[unit])
    pairs = [(told["selfsight", turn], other) for (name, turn), other in told.items() if name == way]
    ratios = [other / own if slower else own / other for own, other in pairs]
    if ratios:
        name = f"{what}{f', {encoder}' if encoder else ''}: {unit.replace('_', ' ')}, better than {way} by a factor of"
        middle = statistics.median(ratios)
        yield Claim(name, middle, min(ratios), max(ratios), len(ratios), bar, middle >= bar)


RIVALS = {
    "end to end": tuple(WANTED),
    "neighbour": ("lightly", "lightly-train"),
    "start": ("lightly", "lightly-train"),
    "probes": ("lightly",),
}
"""Parts in which others run; where some cannot be made, what was measured is kept apart."""
PARTS: dict[str, Callable[[Any], Iterator[dict[str, Any]]]] = {
    "end to end": end_to_end,
    "neighbour": beside_a_neighbour,
    "ceiling": ceilings,
    "ViT-tiny": attention,
    "start": starts,
    "packing": lambda words: bulk.packing(words.work, words.rounds, 60_000),
    "probes": lambda words: bulk.probes(words.work, words.rounds, bulk.TRAIN, bulk.ASKED, rival(words, "lightly")),
    "growth": lambda words: bulk.growth(words.work, words.rounds),
}


if __name__ == "__main__":
    main()
