"""How much does each corruption take from images, and what does it cost?

    python benchmarks/corruptions.py --data DATA --out benchmarks/results/corruptions.json

Every corruption with its usual settings on the same images of two sets. A row: the mean share of a picture's variance that
was lost (`images/lost.py`), its tenth and ninetieth percentile, the share of the area that is gone altogether, and the
time for a batch of 128 on one thread, least of some. A claim is that mean with its interval over images; it holds where
something is taken away at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Claim, conclude, interval, parser
from torch import Tensor

from selfsight.corruption import Corruption
from selfsight.corruptions import NAMES, spelled
from selfsight.seeds import generator
from selfsight.sources import guess
from selfsight.store import Packing, pack

SETS = ("emoji", "photos/patches")
ASIDE = ("chain", "oneof", "truncated")
"""Made of others, or of a run."""
WANTED = ("decolour+downsample", *(name for name in NAMES if name not in ASIDE))
BATCH, TIMED = 128, 7


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    given.add_argument("--images", type=int, default=400, help="of each set")
    given.add_argument("--size", type=int, default=64, help="pixels")
    given.add_argument("--work", type=Path, default=Path("runs/corruptions"), help="where the packed sets are kept")
    words = given.parse_args()
    torch.set_num_threads(1)
    made = list[tuple[Claim, dict[str, Any]]]()
    for place in SETS:
        images = pictures(place, words)
        made += [measured(place, name, spelled(name), images) for name in WANTED]
    conclude("corruptions", [claim for claim, _ in made], [row for _, row in made], words.out)


def pictures(place: str, words: Any) -> Tensor:
    """(N, 3, S, S) in [0, 1], the same at every call."""
    store = pack(
        guess(str(words.data / place)),
        Packing(size=words.size),
        out=words.work / f"{place.replace('/', '_')} {words.size}.store",
    )
    rows = np.sort(np.random.default_rng(0).permutation(len(store))[: words.images])
    return torch.from_numpy(np.array(store.images[rows])).permute(0, 3, 1, 2).float() / 255


def measured(place: str, name: str, corruption: Corruption, images: Tensor) -> tuple[Claim, dict[str, Any]]:
    done = corruption(images, generator("corruptions", name))
    share = done.removed.double().numpy()
    low, high = np.quantile(share, (0.1, 0.9))
    row = {
        "set": place,
        "corruption": name,
        "removed": float(share.mean()),
        "tenth": float(low),
        "ninetieth": float(high),
        "area": float(done.where.mean()),
        "milliseconds": 1000 * min(seconds(corruption, images[:BATCH])),
    }
    mean, least, most = interval(share.tolist())
    told = f"{place}: mean share of the variance that {name} takes"
    print(f"{place:15} {name:20} {mean:.3f}  {row['milliseconds']:.1f} ms", flush=True)
    return Claim(told, mean, least, most, len(share), 0.0, least > 0), row


def seconds(corruption: Corruption, images: Tensor) -> Iterator[float]:
    for number in range(TIMED):
        began = time.thread_time()
        corruption(images, generator("timed", number))
        yield time.thread_time() - began


if __name__ == "__main__":
    main()
