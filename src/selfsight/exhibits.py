"""What a run shows of itself: the drawn puzzle, thumbnails with a map of their embeddings, and nearest neighbours.

Written as plain pictures and JSON, so that the report needs neither torch nor the images.

Shapes: M images shown, D embedding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import nn

from selfsight.drawing import draw, example_of
from selfsight.embedding import embed_images
from selfsight.run import Run, replacing, write_json
from selfsight.seeds import seed_of
from selfsight.task import Task

if TYPE_CHECKING:
    from selfsight.store import Store

SHOWN, QUERIES, NEIGHBOURS, DRAWN = 400, 12, 6, 6
THUMB, COLUMNS = 48, 20


def draw_puzzles(run: Run, task: Task, store: Store, where: np.ndarray, seed: int) -> None:
    """exhibits/puzzles.png and .json: what the network is asked, on a few of its images."""
    rows = np.sort(np.random.default_rng(seed_of(seed, "drawn")).permutation(where)[: min(DRAWN, len(where))])
    example = example_of(task, store.images, rows, seed)
    sheet = draw(task, example, store.images[rows])
    folder = run.path / "exhibits"
    with replacing(folder / "puzzles.png") as temporary:
        sheet.save(temporary, format="PNG")
    write_json(
        folder / "puzzles.json",
        {"sentence": task.question(), "captions": [task.caption(example, i) for i in range(len(rows))]},
    )


def show_embedding(
    run: Run, store: Store, where: np.ndarray, trained: nn.Module, untrained: nn.Module, seed: int
) -> None:
    """exhibits/thumbs.png and exhibits.json: a map of some hundred images, and the neighbours of a dozen."""
    rows = np.sort(np.random.default_rng(seed_of(seed, "shown")).permutation(where)[:SHOWN])
    labels = store.labels()
    spaces = {
        name: _unit(embed_images(encoder, store.images, rows))
        for name, encoder in (("trained", trained), ("untrained", untrained))
    }
    queries = np.linspace(0, len(rows) - 1, min(QUERIES, len(rows))).astype(int)
    near = {name: _neighbours(space, queries) for name, space in spaces.items()}
    folder = run.path / "exhibits"
    with replacing(folder / "thumbs.png") as temporary:
        _sprite(store.images[rows]).save(temporary, format="PNG")
    write_json(
        folder / "exhibits.json",
        {
            "thumb": THUMB,
            "columns": COLUMNS,
            "names": [store.names[row] for row in rows],
            "labels": [labels.classes[labels.codes[row]] if labels.codes[row] >= 0 else None for row in rows],
            "map": _map(spaces["trained"], seed),
            "neighbours": [
                {"query": int(query), **{name: near[name][i].tolist() for name in near}}
                for i, query in enumerate(queries)
            ],
        },
    )


def _unit(z: np.ndarray) -> np.ndarray:
    z = z - z.mean(0)
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


def _neighbours(z: np.ndarray, queries: np.ndarray) -> np.ndarray:
    similar = z[queries] @ z.T
    similar[np.arange(len(queries)), queries] = -np.inf
    return np.argsort(-similar, axis=1, kind="stable")[:, :NEIGHBOURS]


def _map(z: np.ndarray, seed: int) -> dict[str, Any]:
    """Two dimensions by t-SNE, by principal components where there are too few images; scaled into [0, 1]."""
    if not np.ptp(z, axis=0).any():
        return {"method": "none: all embeddings are alike", "xy": [[0.5, 0.5]] * len(z)}
    if len(z) >= 30:
        from sklearn.manifold import TSNE

        method = "t-SNE"
        xy = TSNE(perplexity=min(30, len(z) // 4), init="pca", random_state=seed, max_iter=500).fit_transform(
            z.astype(np.float64)
        )
    else:
        method = "principal components"
        left, values, _ = np.linalg.svd(z - z.mean(0), full_matrices=False)
        xy = (left * values)[:, :2] if left.shape[1] > 1 else np.zeros((len(z), 2))
    low, high = xy.min(0), xy.max(0)
    return {"method": method, "xy": np.round((xy - low) / np.maximum(high - low, 1e-12), 4).tolist()}


def _sprite(images: np.ndarray) -> Image.Image:
    sheet = Image.new("RGB", (COLUMNS * THUMB, math.ceil(len(images) / COLUMNS) * THUMB))
    for i, image in enumerate(images):
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).convert("RGB")
        sheet.paste(
            picture.resize((THUMB, THUMB), Image.Resampling.LANCZOS), (i % COLUMNS * THUMB, i // COLUMNS * THUMB)
        )
    return sheet
