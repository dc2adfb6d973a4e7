"""Images through an encoder, in bounded memory; and `embed`, which writes the result with the file names.

Shapes: N images, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from selfsight.errors import UserError
from selfsight.images.picked import Images
from selfsight.run import replacing

Progress = Callable[[int, int], None]


def embed_images(
    encoder: nn.Module,
    images: Images,
    where: np.ndarray | None = None,
    *,
    batch: int = 256,
    progress: Progress | None = None,
) -> np.ndarray:
    """(N, D) float32 of images (all, H, W, C) uint8, or of those at `where`. The encoder's mode is restored after."""
    rows = np.arange(len(images)) if where is None else where
    parts = list(_parts(encoder, images, rows, batch, progress))
    return np.concatenate(parts) if parts else np.zeros((0, getattr(encoder, "dim", 0)), np.float32)


def _parts(
    encoder: nn.Module, images: Images, rows: np.ndarray, batch: int, progress: Progress | None
) -> Iterator[np.ndarray]:
    training, device = encoder.training, next(encoder.parameters()).device
    encoder.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(rows), batch):
                pixels = torch.from_numpy(images[rows[start : start + batch]]).permute(0, 3, 1, 2).to(device)
                yield encoder(pixels.float() / 255).float().cpu().numpy()
                if progress:
                    progress(min(start + batch, len(rows)), len(rows))
    finally:
        encoder.train(training)


def write_embeddings(
    path: Path,
    embeddings: np.ndarray,
    names: list[str],
    labels: list[str] | None,
    also: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> None:
    """Writes .npz (arrays `embeddings`, `names`, and `labels` where known) or .parquet (one row an image), atomically.

    also: further arrays by name, first dimension the image; in .parquet a column of flat lists of numbers each.

    Raises UserError for another ending, or where pyarrow is missing.
    """
    if path.suffix == ".npz":
        arrays = {"embeddings": embeddings, "names": np.array(names)} | ({"labels": np.array(labels)} if labels else {})
        arrays |= also
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        return
    if path.suffix != ".parquet":
        raise UserError(
            f"Embeddings are written as .npz or .parquet, not as {path.name!r}: give --out a name with one of "
            "these endings."
        )
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError("Writing .parquet needs pyarrow: `pip install 'selfsight[parquet]'`, or write .npz.") from error

    def column(rows: np.ndarray) -> Any:
        return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows[0].size if len(rows) else 1)

    columns = {"name": pa.array(names), "embedding": column(embeddings)}
    columns |= {"label": pa.array(labels)} if labels else {}
    columns |= {name: column(rows) for name, rows in also.items()}
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns), temporary)
