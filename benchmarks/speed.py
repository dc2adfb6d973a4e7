"""How much faster, than whom, and how near to the limit?

    python benchmarks/speed.py --out benchmarks/results/speed.json [--rounds 3] [--work runs/speed] [--quick]

SimCLR on a folder of 6,000 JPEGs of 64 pixels (pieces of scikit-image's photographs, made in WORK), batches of 128, end to
end, by every way of `speed_loops.py`, each in a process of its own, in turn, so that a load on the machine meets all alike. lightly
runs in an environment of its own, made in WORK with this machine's pip; where it cannot be made, it is named and left out.
Also: the share of the ceiling, the step of a ViT-tiny beside timm's as it comes, one busy neighbour, how long
`selfsight --help` and the first step of a process take, packing, probes, and what many images cost beside few. A claim is
the median of the rounds' ratios, its interval their range. Rows of each part are kept in WORK as it ends: `--only` makes
some, a second call goes on with the rest.
"""

from __future__ import annotations

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
"""Among which lightly's best is looked for."""
BARS = {"small": (4.5, 1.9), "resnet18": (2.1, 1.9)}
"""Times as fast as lightly, and as the tuned loop, that are asked for."""


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
        alone = "" if part not in BESIDE or peers(words) else " alone"
        place = words.work / f"{part} {words.encoders} {words.rounds} {words.seconds:g}{alone}.json"
        rows += kept(place, {}, lambda made: {"rows": list(made(words))}, PARTS[part])["rows"]
    conclude("speed", list(claims(rows)), rows, words.out)


def peers(words: Any) -> str | None:
    """Made where it is first asked for."""
    return environment(words.work / "peers")


def environment(place: Path) -> str | None:
    """The Python of an environment with lightly in it; None, and why, where there can be none."""
    python = place / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            wanted = ["torch", "torchvision", "lightly", "pytorch-lightning", "-e", str(ROOT)]
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
        subprocess.run([str(python), "-c", "import lightly, pytorch_lightning, selfsight"], check=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"lightly is left out: {error}")
        return None
    return str(python)


def jpegs(words: Any) -> str:
    """The folder that every loop learns from."""
    return str(bulk.pieces(words.work / "jpegs", IMAGES, 64))


def end_to_end(words: Any) -> Iterator[dict[str, Any]]:
    """Every encoder."""
    python, folder = peers(words), jpegs(words)
    for encoder in words.encoders.split(","):
        yield from _loops(words, python, folder, encoder)


def _loops(words: Any, python: str | None, folder: str, encoder: str) -> Iterator[dict[str, Any]]:
    """Every loop, round by round; of lightly all numbers of workers in the first round, the best one after."""
    ways = [("selfsight", 0), ("tuned", 2), ("plain", 2)]
    others: list[tuple[str, int]] = [("lightly", workers) for workers in WORKERS] if python else []
    for turn in range(words.rounds):
        told = []
        for name, workers in [*ways, *others]:
            row = {"what": "end to end", "encoder": encoder, "way": name, "workers": workers, "round": turn}
            told.append(
                row | _run(python if name == "lightly" else sys.executable, name, encoder, folder, words, workers)
            )
            print(f"{encoder:9} {name:10} {workers} {told[-1]['images_per_second']:8.1f} images/s", flush=True)
            yield told[-1]
        rates = {row["workers"]: row["images_per_second"] for row in told if row["way"] == "lightly"}
        others = [("lightly", max(rates, key=lambda workers: rates[workers]))] if rates else []


def beside_a_neighbour(words: Any) -> Iterator[dict[str, Any]]:
    """ResNet-18 by us and by lightly while another process is busy."""
    python, folder = peers(words), jpegs(words)
    if not python:
        return
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        for turn in range(words.rounds):
            for name, program in (("selfsight", sys.executable), ("lightly", python)):
                row = {"what": "a busy neighbour", "encoder": "resnet18", "way": name, "round": turn}
                yield row | _run(program, name, "resnet18", folder, words, 0)
    finally:
        busy.kill()


def _run(python: Any, name: str, encoder: str, folder: str, words: Any, workers: int) -> dict[str, Any]:
    command = [python, str(HERE / "speed_loops.py"), name, "--encoder", encoder, "--folder", folder]
    command += ["--seconds", str(words.seconds), "--workers", str(workers), "--began", repr(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def ceilings(words: Any) -> Iterator[dict[str, Any]]:
    """End to end beside the same step on a batch that is there, at 64 and 28 pixels."""
    import selfsight
    from selfsight.speed import measure

    folder = jpegs(words)
    for size in (64, 28):
        speed = measure(selfsight.Recipe(data=selfsight.sources.guess(folder), size=size), Console(stderr=True))
        yield {
            "what": "share of the ceiling",
            "size": size,
            "share": speed.share,
            "views": speed.views,
            "waiting": speed.waiting,
        }


def attention(words: Any) -> Iterator[dict[str, Any]]:
    """A step of ViT-tiny with 64 patches: timm's as it comes in fp32, and as selfsight takes it, in turn."""
    import timm

    from selfsight.encoders.timm import explicit_attention

    pixels = torch.rand(64, 3, 64, 64)
    ways = {}
    for name in ("timm", "selfsight"):
        net = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64, patch_size=8)
        if name == "selfsight":
            explicit_attention(net)
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
    python, folder = peers(words), jpegs(words)
    for turn in range(words.rounds):
        for name, program in (("selfsight", sys.executable), ("lightly", python)):
            if program:
                row = {"what": "first step", "way": name, "round": turn}
                yield row | _run(program, name, "small", folder, words, 0)


def claims(rows: Sequence[dict[str, Any]]) -> Iterator[Claim]:
    """See the top of this file."""
    for encoder in dict.fromkeys(row["encoder"] for row in rows if row["what"] == "end to end"):
        lightly, tuned = BARS[encoder]
        for way, bar in (("lightly", lightly), ("tuned", tuned), ("plain", 2.0)):
            yield from _ratio(rows, "end to end", encoder, way, bar)
    yield from _ratio(rows, "a busy neighbour", "resnet18", "lightly", 5.0)
    yield from _ratio(rows, "ViT-tiny", None, "timm", 3.0)
    for row in (row for row in rows if row["what"] == "share of the ceiling"):
        bar = 0.97 if row["size"] == 64 else 0.93
        name = f"share of the ceiling at {row['size']} px"
        yield Claim(name, row["share"], row["share"], row["share"], 1, bar, row["share"] >= bar)
    helps = [row["seconds"] for row in rows if row["what"] == "--help"]
    if helps:
        middle = statistics.median(helps)
        yield Claim("seconds of selfsight --help", middle, min(helps), max(helps), len(helps), 0.3, middle <= 0.3)
    yield from _ratio(rows, "first step", None, "lightly", 2.0, unit="first_step", slower=True)
    yield from _ratio(rows, "packing", None, "one core decodes", 1.8)
    for probe, way in (
        ("kNN", "scikit-learn"),
        ("logistic", "scikit-learn"),
        ("logistic", "scikit-learn, strength chosen"),
    ):
        some = [row | {"what": f"probes, {probe}"} for row in rows if row.get("probe") == probe]
        yield from _ratio(some, f"probes, {probe}", None, way, 3.0, unit="seconds", slower=True)
    yield from _flat([row for row in rows if row["what"] == "growth"])


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


BESIDE = ("end to end", "neighbour", "start")
"""Parts in which others run; where they cannot be made, what was measured is kept apart."""
PARTS: dict[str, Callable[[Any], Iterator[dict[str, Any]]]] = {
    "end to end": end_to_end,
    "neighbour": beside_a_neighbour,
    "ceiling": ceilings,
    "ViT-tiny": attention,
    "start": starts,
    "packing": lambda words: bulk.packing(words.work, words.rounds, 60_000),
    "probes": lambda words: bulk.probes(words.rounds, bulk.TRAIN, bulk.ASKED),
    "growth": lambda words: bulk.growth(words.work, words.rounds),
}


if __name__ == "__main__":
    main()
