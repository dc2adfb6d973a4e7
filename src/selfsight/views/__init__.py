"""The sources of views that a recipe can name, and their short names."""

from __future__ import annotations

from selfsight.errors import UserError, nearest
from selfsight.images.views import Views
from selfsight.view import ViewSource
from selfsight.views.coded import CodedViews
from selfsight.views.corrupted import CorruptedViews
from selfsight.views.generated import GeneratedViews
from selfsight.views.learned import LearnedViews
from selfsight.views.multicrop import MultiCropViews
from selfsight.views.viewmaker import ViewmakerViews

__all__ = [
    "CodedViews",
    "CorruptedViews",
    "GeneratedViews",
    "LearnedViews",
    "MultiCropViews",
    "ViewmakerViews",
    "Views",
    "called",
]
NAMES: dict[str, type[ViewSource]] = {
    "coded": CodedViews,
    "corrupted": CorruptedViews,
    "generated": GeneratedViews,
    "learned": LearnedViews,
    "multicrop": MultiCropViews,
    "ordinary": Views,
    "viewmaker": ViewmakerViews,
}


def called(name: str) -> type[ViewSource]:
    """`generated` is GeneratedViews. Raises UserError where a name is not known."""
    if name.lower() not in NAMES:
        raise UserError(f"There are no views {name!r}{nearest(name, NAMES)}: give one of {', '.join(NAMES)}.")
    return NAMES[name.lower()]
