"""The picture that explains what imagined_views.py found: images, what was left of them, answers, and the controls.

    python benchmarks/imagined_picture.py --work runs/imagined_views --out docs/pictures/imagined_views.png

Needs the WORK folder of a run of imagined_views.py on emoji. Shows images, and neighbours of them, whose names have --named
in them, so that what is shown may be shown (fluent emoji are under the MIT licence).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from imagined_views import CORRUPTIONS, folder_of
from PIL import Image, ImageDraw, ImageFont

from selfsight.imagined import Imagined
from selfsight.store import Store

SCALE, GAP, HEAD, WIDE = 2, 3, 24, 1500
"""Of a pixel; between two pictures; of the line above; of the whole, at most. All in pixels of the result."""
SHOWN = {**dict.fromkeys(CORRUPTIONS, (True, 3)), "untrained": (False, 2), "neighbour": (False, 2)}
"""Whether what was left is shown, and how many answers."""
TITLES = {"untrained": "untrained", "neighbour": "nearest other images"}


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--work", type=Path, default=Path("runs/imagined_views"))
    given.add_argument("--set", default="emoji")
    given.add_argument("--named", default="fluent", help="part of the names of images that are shown")
    given.add_argument("--rows", type=int, default=6)
    given.add_argument("--out", type=Path, default=Path("docs/pictures/imagined_views.png"))
    words = given.parse_args()
    store = Store.open(words.work / f"{words.set}.store")
    able = {store.images[i].tobytes() for i in range(len(store)) if words.named in store.names[i]}
    near = Imagined.open(folder_of(words.work, words.set, "neighbour") / "answers").answers
    seen = {
        i: [picture for picture in near[i] if picture.tobytes() in able]
        for i in store.where("val")
        if words.named in store.names[i]
    }
    several = [i for i, pictures in seen.items() if len(pictures) >= SHOWN["neighbour"][1]]
    chosen = np.random.default_rng(0).choice(several, words.rows, replace=False)
    groups = {"image": store.images[chosen][:, None]}
    for source, (left, answers) in SHOWN.items():
        kept = Imagined.open(folder_of(words.work, words.set, source) / "answers")
        pictures = np.array([(seen[i] if source == "neighbour" else kept.answers[i])[:answers] for i in chosen])
        groups[source] = np.concatenate([kept.left[chosen][:, None], pictures], 1) if left else pictures
    words.out.parent.mkdir(parents=True, exist_ok=True)
    drawn(groups).save(words.out, optimize=True)


def drawn(groups: dict[str, np.ndarray]) -> Image.Image:
    """Groups of (rows, pictures, S, S, 3), each below its name: as many side by side as fit, the others below, beside
    the first group again."""
    first, *others = groups
    rows, _, side = groups[first].shape[:3]
    step = side * SCALE + GAP
    wide = {name: len(group[0]) * step + 4 * GAP for name, group in groups.items()}
    lines, x = [[first]], wide[first]
    for name in others:
        if x + wide[name] > WIDE:
            lines, x = [*lines, [first]], wide[first]
        lines[-1].append(name)
        x += wide[name]
    tall = HEAD + rows * step
    page = Image.new("RGB", (max(sum(wide[name] for name in line) for line in lines), len(lines) * tall), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=14)
    for number, line in enumerate(lines):
        x, y = 0, number * tall
        for name in line:
            pen.text((x, y + 3), TITLES.get(name, name), "black", font)
            for row, column in np.ndindex(*groups[name].shape[:2]):
                picture = Image.fromarray(np.ascontiguousarray(groups[name][row, column]))
                picture = picture.resize((side * SCALE, side * SCALE), Image.Resampling.NEAREST)
                page.paste(picture, (x + column * step, y + HEAD + row * step))
            x += wide[name]
    return page


if __name__ == "__main__":
    main()
