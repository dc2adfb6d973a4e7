"""The tasks a recipe can name."""

from selfsight.tasks.byol import BYOL
from selfsight.tasks.decompose import Decompose
from selfsight.tasks.elsewhere import Elsewhere
from selfsight.tasks.grid import Grid
from selfsight.tasks.missingbox import MissingBox
from selfsight.tasks.oddoneout import OddOneOut
from selfsight.tasks.patchwork import Patchwork
from selfsight.tasks.quadrants import Quadrants
from selfsight.tasks.restore import Restore
from selfsight.tasks.restoremean import RestoreMean
from selfsight.tasks.rotation import Rotation
from selfsight.tasks.saliency import Saliency
from selfsight.tasks.sameordifferent import SameOrDifferent
from selfsight.tasks.scale import Scale
from selfsight.tasks.simclr import SimCLR
from selfsight.tasks.split import Split
from selfsight.tasks.tokens import Tokens
from selfsight.tasks.unmix import Unmix
from selfsight.tasks.vicreg import VICReg
from selfsight.tasks.whichtransform import WhichTransform

__all__ = [
    "BYOL",
    "Decompose",
    "Elsewhere",
    "Grid",
    "MissingBox",
    "OddOneOut",
    "Patchwork",
    "Quadrants",
    "Restore",
    "RestoreMean",
    "Rotation",
    "Saliency",
    "SameOrDifferent",
    "Scale",
    "SimCLR",
    "Split",
    "Tokens",
    "Unmix",
    "VICReg",
    "WhichTransform",
]
