"""Do answers keep the class of their images? Seen through an encoder that compared whole images.

    python benchmarks/imagined_seen.py --work runs/imagined_views --out benchmarks/results/imagined_seen.json

Looks at every set of kept answers that benchmarks/imagined_views.py left in WORK, through one encoder trained for
--seconds of one thread by SimCLR on two ordinary views of the same images; the page of `selfsight imagine` looks
through the restorer's own, which was shown corrupted pictures alone. Of 1,000 images, those that have labels: how often ten labelled
neighbours tell the class of the image, of what was left, of an answer; and cosines. A claim: an answer is more often
of its image's class than what was left of it, its interval by bootstrap over images.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from imagined_views import CORRUPTIONS, folder_of
from record import Claim, conclude, parser
from restore import fixed_encoder

from selfsight.imagined import Imagined
from selfsight.imagining import ASKED, judged
from selfsight.seeds import seed_of
from selfsight.store import Store

LESS = "of an answer, less of what was left"


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--sets", default="emoji", help="comma-separated")
    given.add_argument("--seconds", type=float, default=120.0, help="of one thread, for the encoder")
    given.add_argument("--work", type=Path, default=Path("runs/imagined_views"), help="of imagined_views.py")
    words = given.parse_args()
    if words.quick:
        words.seconds = 40.0
    torch.set_num_threads(1)
    rows = [row for place in words.sets.split(",") for row in _rows(place, words)]
    conclude("imagined_seen", list(claims(rows)), rows, words.out)


def _rows(place: str, words: Any) -> Iterator[dict[str, Any]]:
    name = place.replace("/", "_")
    store = Store.open(words.work / f"{name}.store")
    encoder = fixed_encoder(store, words.work / f"{name} eyes {words.seconds:g}", words.seconds)
    rows = np.random.default_rng(seed_of(0, "judged")).permutation(len(store))[:ASKED]
    asked = int((store.labels().codes[rows] >= 0).sum())
    for answers in sorted(folder_of(words.work, place, "").glob("*/answers")):
        if answers.parent.name not in (*CORRUPTIONS, "untrained"):
            continue  # controls without a corruption
        told = judged(Imagined.open(answers), store, encoder, "SimCLR")
        print(place, answers.parent.name, dict(told.numbers), flush=True)
        yield {"set": place, "answers": answers.parent.name, "n": asked, **told.numbers}


def claims(rows: list[dict[str, Any]]) -> Iterator[Claim]:
    for row in rows:
        if LESS in row:
            value, low, high = (float(number) for number in re.findall(r"-?[\d.]+", row[LESS])[:3])
            name = f"{row['set']}, {row['answers']}: points of class right, of an answer less of what was left"
            yield Claim(name, value, low, high, row["n"], 0.0, low > 0)


if __name__ == "__main__":
    main()
