"""Healthy trainings in the style of nine strangers.

All nine were looked at while the checks were written, and some checks were mended on what they missed here: what the
benchmark counts on them are development figures, not an estimate for programs nobody has seen.
"""

from doctor_programs.hosts import byol, classifier, masked, masks, rotation, simclr, triplet, unmixing, vicreg

CORE = (classifier.HOST, rotation.HOST, simclr.HOST, unmixing.HOST)
FURTHER = (byol.HOST, vicreg.HOST, masked.HOST, masks.HOST, triplet.HOST)
HOSTS = CORE + FURTHER
