"""Twelve double faults: pairs that stood in one program at the same time, in the order the journals met them, and pairs alike."""

from __future__ import annotations

from dataclasses import dataclass

from doctor_programs.faults import data, labels, loop, loss, model, optimizer
from doctor_programs.faults.fault import Fault
from doctor_programs.host import Host

SINGLE = {
    fault.id: fault
    for fault in data.FAULTS + labels.FAULTS + model.FAULTS + loss.FAULTS + optimizer.FAULTS + loop.FAULTS
}


@dataclass(frozen=True)
class Double:
    """Two mistakes in one program."""

    id: str
    first: Fault
    second: Fault

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.first.name} + {self.second.name}"

    @property
    def truths(self) -> tuple[Fault, Fault]:
        """Both faults, each with its component and causes."""
        return self.first, self.second

    @property
    def raises(self) -> bool:
        """Whether either ends in an exception."""
        return self.first.raises or self.second.raises

    def inject(self, host: Host) -> Host | None:
        """Both mistakes, or None where either makes no sense."""
        once = self.first.inject(host)
        return self.second.inject(once) if once else None


PAIRS = (
    ("F18", "F17"),  # 5 and 8 August: mixed batches, and the notebook's xb
    ("F18", "F25"),  # 5 and 12 August
    ("F01", "F18"),  # 7 and 5 August
    ("F25", "F42"),  # 9 August: nothing changes, not even at a rate of 1000
    ("F17", "F25"),  # 8 and 12 August
    ("F24c", "F25"),  # 27 and 12 August
    ("F13", "F44"),  # 24 and 26 September
    ("F44", "F12"),  # 26 and 27 September
    ("F22", "F44"),  # 18 and 26 September
    ("F06", "F02"),  # 30 September and 11 October
    ("F26", "F40"),
    ("F46", "F42"),
)
DOUBLES = tuple(Double(f"D{number:02}", SINGLE[a], SINGLE[b]) for number, (a, b) in enumerate(PAIRS, start=1))
