"""`python -m selfsight.doctor` writes the handbook of checks to the standard output."""

from selfsight.doctor.handbook import handbook

print(handbook(), end="")
