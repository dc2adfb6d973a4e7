"""The mistakes, by the component that is at fault."""

from doctor_programs.faults import data, labels, loop, loss, model, optimizer, teacher
from doctor_programs.faults.double import DOUBLES, Double
from doctor_programs.faults.fault import COMPONENTS, Fault

FAULTS = data.FAULTS + labels.FAULTS + model.FAULTS + loss.FAULTS + optimizer.FAULTS + loop.FAULTS + teacher.FAULTS

__all__ = ["COMPONENTS", "DOUBLES", "FAULTS", "Double", "Fault"]
