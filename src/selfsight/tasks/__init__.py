"""The tasks a recipe can name."""

from selfsight.tasks.byol import BYOL
from selfsight.tasks.oddoneout import OddOneOut
from selfsight.tasks.quadrants import Quadrants
from selfsight.tasks.rotation import Rotation
from selfsight.tasks.simclr import SimCLR
from selfsight.tasks.vicreg import VICReg

__all__ = ["BYOL", "OddOneOut", "Quadrants", "Rotation", "SimCLR", "VICReg"]
