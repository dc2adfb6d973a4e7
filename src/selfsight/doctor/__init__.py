"""The doctor: examines a program, ranks what it finds to a cause, tries the cure, and says it in plain words."""

from __future__ import annotations

from selfsight.doctor.examine import examine
from selfsight.doctor.subject import program_of

__all__ = ["examine", "program_of"]
