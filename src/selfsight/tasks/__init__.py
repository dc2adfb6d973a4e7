"""The tasks a recipe can name."""

from selfsight.tasks.byol import BYOL
from selfsight.tasks.restore import Restore
from selfsight.tasks.rotation import Rotation
from selfsight.tasks.sameordifferent import SameOrDifferent
from selfsight.tasks.simclr import SimCLR
from selfsight.tasks.split import Split
from selfsight.tasks.vicreg import VICReg
from selfsight.tasks.whichtransform import WhichTransform

__all__ = ["BYOL", "Restore", "Rotation", "SameOrDifferent", "SimCLR", "Split", "VICReg", "WhichTransform"]
