"""Healthy trainings by nine strangers. The doctor is developed on the first four; the others are held out."""

from doctor_programs.hosts import byol, classifier, masked, masks, rotation, simclr, triplet, unmixing, vicreg

DEVELOPMENT = (classifier.HOST, rotation.HOST, simclr.HOST, unmixing.HOST)
HELD_OUT = (byol.HOST, vicreg.HOST, masked.HOST, masks.HOST, triplet.HOST)
HOSTS = DEVELOPMENT + HELD_OUT
