"""The restorers a recipe can name."""

from selfsight.restorers.camnet import CamNet

__all__ = ["CamNet"]
