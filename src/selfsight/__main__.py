"""`python -m selfsight`, for torchrun."""

from selfsight.cli import main

main()
