"""The main job on real photographs, in a few minutes on two cores: `make demo`.

About seventy photographs come with the installation (rooms, flowers, streets, buildings, and a cat). Each is cut into
pieces; the pieces of its left side are learned from, without labels, and those of its right side are asked about: which
photograph is this piece from? An encoder that has learned what pieces of one place have in common can tell; raw pixels
and an untrained encoder cannot tell as well. The last line is machine-readable.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

import selfsight
from selfsight.examination import print_evaluation

OUT = Path("demo")
SHORT, PIECE = 448, 64
"""Short side a photograph is brought to, and the side of its pieces, in pixels."""
FLAT = 12
"""Pieces of less contrast (standard deviation of the gray values) show nothing: sky, walls."""
MINUTES = 1.5


def photographs() -> Iterator[tuple[str, Image.Image]]:
    """(name, picture) of the photographs that came with the installation."""
    for package, folder, kept in (
        ("interior_photos", "images", "*.jpg"),
        ("mvtbdata", "images", "*.png"),
        ("skimage", "data", "*.*"),
    ):
        for path in sorted(Path(str(files(package))).joinpath(folder).glob(kept)):
            if path.stem in CHOSEN.get(package, {path.stem}):
                yield f"{package[:4]}-{path.stem}", Image.open(path).convert("RGB")


CHOSEN = {
    "mvtbdata": {
        *("building2-1", "castle", "castle2", "church", "eiffel-1", "eiffel-2", "lab-scene", "notre-dame", "parks"),
        *("penguins", "road", "rocks2-l", "roof", "street", "walls-l", "tomato_54", "58060"),
        *(f"flowers{number}" for number in range(1, 10)),
    },
    "skimage": {"astronaut", "chelsea", "coffee", "rocket", "motorcycle_left", "hubble_deep_field"},
}


def cut(folder: Path) -> None:
    """Writes the pieces as class folders: train/<photo>/ from the left 55 %, val/<photo>/ from the right 35 %."""
    for name, picture in photographs():
        scale = SHORT / min(picture.size)
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS
        )
        for split, left, right in (("train", 0.0, 0.55), ("val", 0.65, 1.0)):
            pieces = list(
                grid(picture.crop((int(left * picture.width), 0, int(right * picture.width), picture.height)))
            )
            (folder / split / name).mkdir(parents=True)
            for number, piece in enumerate(pieces):
                piece.save(folder / split / name / f"{number:03}.png")


def grid(picture: Image.Image, step: int = 48) -> Iterator[Image.Image]:
    """Overlapping pieces with some contrast."""
    for top in range(0, picture.height - PIECE + 1, step):
        for left in range(0, picture.width - PIECE + 1, step):
            piece = picture.crop((left, top, left + PIECE, top + PIECE))
            if np.asarray(piece.convert("L")).std() >= FLAT:
                yield piece


def main() -> None:
    console = Console()
    pieces, run = OUT / "pieces", selfsight.Run.default_path("demo")
    if not pieces.exists():
        console.print("cutting the photographs into pieces")
        shutil.rmtree(OUT / "pieces.part", ignore_errors=True)  # of a demo that was killed while cutting
        cut(OUT / "pieces.part")
        (OUT / "pieces.part").rename(pieces)
    # The colour of a piece says where it is from, so the views leave it nearly as it is: the standard jitter would
    # teach the network to overlook the very thing that is asked.
    views = selfsight.Views(crop=(0.3, 1.0), brightness=0.2, contrast=0.2, saturation=0.1, hue=0.02, gray=0.0, blur=0.2)
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    selfsight.pretrain(
        str(pieces), task=selfsight.SimCLR(views=views), minutes=minutes, out=OUT / run.name, console=console
    )
    evaluation = selfsight.evaluate(OUT / run.name, console=console)
    print_evaluation(evaluation)
    report = selfsight.report(OUT / run.name)
    told = evaluation.to_json()
    print(json.dumps({"report": str(report.resolve()), "scores": told["scores"], "comparisons": told["comparisons"]}))


if __name__ == "__main__":
    main()
