"""Scenes of several objects, and which pixel is whose: what a decomposition of pictures is judged on.

The shapes of dSprites (Matthey, Higgins, Hassabis, Lerchner 2017): square, ellipse, heart; 6 scales, 40 turns, 32 x 32
places. Composed as Multi-dSprites (Kabra et al. 2019, "Multi-Object Datasets"), every object and the background in a
colour of its own, later objects over earlier ones. We depart in that colours of one scene keep a distance, so that no
object is invisible, and no object is hidden altogether. The shapes are drawn here, by the same description; `Sprites`
takes them from the published arrays instead, where a user has these.

A scene is a function of (seed, index) and its settings; torch-free. The colours and the first object of a scene are
the same at every side, and mostly all others (whether one hides too much of another is told by the pixels).

Shapes: S side, K objects, M sprites.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHAPES = ("square", "ellipse", "heart")
SCALES, TURNS, PLACES = 6, 40, 32
SQUARE, ELLIPSE, HEART = 0.15, (0.2, 0.1125), 0.0098
"""Half a side, half axes, and the unit of the curve of the heart, as shares of a picture's side at the largest scale:
intersection over union with 200 of the published arrays each is .999, .997 and .939 in the mean, .87 at least."""
APART = 0.3
"""Euclidean distance in RGB, each in [0, 1], that colours of one scene keep at least: 17 % of the longest."""
VISIBLE = 1 / 3
"""Share of each object's pixels that no other covers, at least."""
TRIES = 50


@dataclass(frozen=True)
class Scene:
    """A picture and its truth."""

    image: np.ndarray
    """(S, S, 3) uint8."""
    owner: np.ndarray
    """(S, S) uint8: 0 is background, k the k-th object in the order they were laid down."""

    @property
    def objects(self) -> int:
        return int(self.owner.max())


def scene(
    index: int,
    seed: int = 0,
    *,
    side: int = 64,
    objects: tuple[int, int] = (2, 4),
    shading: float = 0.0,
    sprites: np.ndarray | None = None,
) -> Scene:
    """One scene. objects: fewest and most; shading in [0, 1]: by how much, at most, light falls off over each object
    and the background, so that no colour is flat; sprites (M, 64, 64) bool: shapes taken from there instead of drawn.
    """
    draws = np.random.default_rng((seed, index))
    count = int(draws.integers(objects[0], objects[1] + 1))
    colours = _colours(count + 1, draws)
    owner, whole = np.zeros((side, side), np.uint8), list[int]()
    for _ in range(count):
        owner = _laid_over(owner, whole, draws, sprites)
    light = np.stack([_light(side, shading, draws) for _ in colours])
    image = colours[owner] * np.take_along_axis(light, owner[None].astype(np.int64), 0)[0][:, :, None]
    return Scene(np.round(255 * image).astype(np.uint8), owner)


def shape(kind: int, scale: float, turn: float, x: float, y: float, side: int) -> np.ndarray:
    """(S, S) bool: SHAPES[kind] at scale in [0.5, 1], turned by `turn` radians, in [0, 1] across and down."""
    pixels = (np.arange(side) + 0.5) / side
    across, down = pixels[None] - (0.25 + 0.5 * x), pixels[:, None] - (0.25 + 0.5 * y)
    right = (np.cos(turn) * across - np.sin(turn) * down) / scale
    up = -(np.sin(turn) * across + np.cos(turn) * down) / scale
    if kind == 0:
        return np.maximum(np.abs(right), np.abs(up)) <= SQUARE
    if kind == 1:
        return (right / ELLIPSE[0]) ** 2 + (up / ELLIPSE[1]) ** 2 <= 1
    far = np.interp(np.arctan2(up, right), *_HEART)
    return np.hypot(right, up) <= HEART * far


def _heart() -> tuple[np.ndarray, np.ndarray]:
    """Angle and radius of the usual curve of a heart, seen from its middle: 32 units across."""
    t = np.linspace(0, 2 * np.pi, 721)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t) + 2.5
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    order = np.argsort(angle)
    angle, radius = angle[order], radius[order]
    return np.concatenate([angle - 2 * np.pi, angle, angle + 2 * np.pi]), np.tile(radius, 3)


_HEART = _heart()


def _colours(count: int, draws: np.random.Generator) -> np.ndarray:
    """(count, 3) in [0, 1], APART or more from each other."""
    found = [draws.random(3)]
    while len(found) < count:
        colour = draws.random(3)
        if min(float(np.linalg.norm(colour - other)) for other in found) >= APART:
            found.append(colour)
    return np.stack(found)


def _laid_over(
    owner: np.ndarray, whole: list[int], draws: np.random.Generator, sprites: np.ndarray | None
) -> np.ndarray:
    """The owners with one object more, that leaves VISIBLE of all before it; of TRIES the one that leaves most.

    whole: the pixels of each object as it was laid down; the new one's are added.
    """
    best, most = (owner, 0), -1.0
    for _ in range(TRIES):
        there = _drawn(len(owner), draws, sprites)
        laid = np.where(there, np.uint8(len(whole) + 1), owner)
        left = np.bincount(laid.ravel(), minlength=len(whole) + 2)[1:-1] / np.maximum(whole, 1)
        least = float(left.min(initial=1.0))
        if least > most:
            best, most = (laid, int(there.sum())), least
        if least >= VISIBLE:
            break
    whole.append(best[1])
    return best[0]


def _drawn(side: int, draws: np.random.Generator, sprites: np.ndarray | None) -> np.ndarray:
    """(S, S) bool: any shape at any scale, turn and place, each as likely."""
    if sprites is not None:
        return _resized(sprites[int(draws.integers(len(sprites)))], side)
    kind, scale, turn = (int(draws.integers(n)) for n in (len(SHAPES), SCALES, TURNS))
    x, y = draws.integers(PLACES, size=2) / (PLACES - 1)
    return shape(kind, 0.5 + scale / 10, 2 * np.pi * turn / (TURNS - 1), x, y, side)


def _resized(sprite: np.ndarray, side: int) -> np.ndarray:
    """(H, W) bool -> (S, S): what lies at the middle of each pixel."""
    rows = ((np.arange(side) + 0.5) * len(sprite) / side).astype(np.int64)
    return sprite[np.ix_(rows, rows)]


def _light(side: int, shading: float, draws: np.random.Generator) -> np.ndarray:
    """(S, S) in [1 - shading, 1]: brightest at one border, least at the opposite one, in any direction."""
    angle, strength = 2 * np.pi * draws.random(), shading * draws.random()
    place = (np.arange(side) + 0.5) / side - 0.5
    fall = np.cos(angle) * place[None] + np.sin(angle) * place[:, None]
    return 1 - strength * (fall - fall.min()) / max(1e-9, float(np.ptp(fall)))
