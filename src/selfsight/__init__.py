"""selfsight: self-supervised vision you can trust, on the machine you have.

Every command is a function here, with the same words. Importing this imports nothing heavy; a name is fetched when it
is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "pretrain": "workbench",
    "resume": "workbench",
    "Stopped": "workbench",
    "evaluate": "verbs",
    "transfer": "verbs",
    "show": "verbs",
    "embed": "verbs",
    "export": "verbs",
    "report": "verbs",
    "pack": "verbs",
    "restore": "restoring",
    "imagine": "imagining",
    "encoder_of": "verbs",
    "tokens": "spellingout",
    "Reading": "reading",
    "Bands": "spellers",
    "Recurrent": "spellers",
    "examine": "doctor",
    "Program": "program",
    "Diagnosis": "diagnosis",
    "Finding": "check",
    "Check": "check",
    "configure": "config",
    "Recipe": "recipe",
    "Optimization": "optimizer",
    "Run": "run",
    "Store": "store",
    "UserError": "errors",
    "Task": "task",
    "Backbone": "encoder",
    "Source": "source",
    "Probe": "probe",
    "Views": "images.views",
    "CodedViews": "views",
    "CorruptedViews": "views",
    "GeneratedViews": "views",
    "LearnedViews": "views",
    "ViewmakerViews": "views",
    "ViewSource": "view",
    "SimCLR": "tasks",
    "BYOL": "tasks",
    "VICReg": "tasks",
    "Rotation": "tasks",
    "Scale": "tasks",
    "Unmix": "tasks",
    "Together": "together",
    "Quadrants": "tasks",
    "OddOneOut": "tasks",
    "Patchwork": "tasks",
    "MissingBox": "tasks",
    "Grid": "tasks",
    "Elsewhere": "tasks",
    "WhichTransform": "tasks",
    "SameOrDifferent": "tasks",
    "Restore": "tasks",
    "RestoreMean": "tasks",
    "Split": "tasks",
    "Tokens": "tasks",
    "Decompose": "tasks",
    "Saliency": "tasks",
    "Scenes": "sources",
    "Corruption": "corruption",
    "Corrupted": "corruption",
    "Decolour": "corruptions",
    "Downsample": "corruptions",
    "CropOut": "corruptions",
    "CutOut": "corruptions",
    "CowMask": "corruptions",
    "PatternedDropout": "corruptions",
    "Blur": "corruptions",
    "Jpeg": "corruptions",
    "Noise": "corruptions",
    "Chain": "corruptions",
    "OneOf": "corruptions",
    "Truncated": "corruptions",
    "Small": "encoders",
    "Timm": "encoders",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'selfsight' has no attribute {name!r}")
    return getattr(importlib.import_module(f"selfsight.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
