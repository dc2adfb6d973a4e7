"""Where images come from: one final per file. Importing this imports neither torch nor any optional package."""

from selfsight.sources.arrays import Arrays
from selfsight.sources.folder import Folder
from selfsight.sources.guess import guess
from selfsight.sources.huggingface import HuggingFace
from selfsight.sources.idx import Idx
from selfsight.sources.manifest import Manifest
from selfsight.sources.memory import InMemory
from selfsight.sources.packed import Packed
from selfsight.sources.scenes import Scenes
from selfsight.sources.torchvision_set import TorchvisionSet

__all__ = [
    "Arrays",
    "Folder",
    "HuggingFace",
    "Idx",
    "InMemory",
    "Manifest",
    "Packed",
    "Scenes",
    "TorchvisionSet",
    "guess",
]
