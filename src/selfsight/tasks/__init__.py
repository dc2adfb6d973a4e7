"""The tasks a recipe can name."""

from selfsight.tasks.byol import BYOL
from selfsight.tasks.elsewhere import Elsewhere
from selfsight.tasks.grid import Grid
from selfsight.tasks.missingbox import MissingBox
from selfsight.tasks.oddoneout import OddOneOut
from selfsight.tasks.patchwork import Patchwork
from selfsight.tasks.quadrants import Quadrants
from selfsight.tasks.rotation import Rotation
from selfsight.tasks.simclr import SimCLR
from selfsight.tasks.vicreg import VICReg

__all__ = [
    "BYOL",
    "Elsewhere",
    "Grid",
    "MissingBox",
    "OddOneOut",
    "Patchwork",
    "Quadrants",
    "Rotation",
    "SimCLR",
    "VICReg",
]
