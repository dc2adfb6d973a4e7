"""The distances a recipe can name."""

from selfsight.distances.features import Features
from selfsight.distances.lpips import LPIPS
from selfsight.distances.pixels import Pixels

__all__ = ["LPIPS", "Features", "Pixels"]
