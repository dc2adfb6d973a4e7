"""The tasks a recipe can name."""

from selfsight.tasks.byol import BYOL
from selfsight.tasks.rotation import Rotation
from selfsight.tasks.scale import Scale
from selfsight.tasks.simclr import SimCLR
from selfsight.tasks.unmix import Unmix
from selfsight.tasks.vicreg import VICReg

__all__ = ["BYOL", "Rotation", "Scale", "SimCLR", "Unmix", "VICReg"]
