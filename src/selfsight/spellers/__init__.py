"""The spellers a recipe can name."""

from selfsight.spellers.bands import Bands
from selfsight.spellers.recurrent import Recurrent

__all__ = ["Bands", "Recurrent"]
