"""Healthy programs that look sick to rules: whoever alarms on one of them has raised a false alarm.

ODD holds them in order. H01 to H18 are those of the doctor's benchmark; the later ones are of the same kind.
"""

from __future__ import annotations

from doctor_odd import classes, dense, generative, joint, masked, sequences, shared, steps, streams, transfer
from doctor_odd.odd import Odd

_GROUPS = (transfer, steps, joint, classes, masked, shared, streams, generative, dense, sequences)

ODD: tuple[Odd, ...] = tuple(sorted((odd for group in _GROUPS for odd in group.ODD), key=lambda odd: odd.id))

__all__ = ["ODD", "Odd"]
