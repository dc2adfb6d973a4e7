"""Randomness as a function of words: the same (seed, step, purpose) always draws the same numbers."""

from __future__ import annotations

import hashlib

import torch


def seed_of(*words: int | str) -> int:
    """A number in [0, 2^63) that depends on every word and on nothing else."""
    digest = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*words: int | str) -> torch.Generator:
    """A fresh CPU generator for these words."""
    return torch.Generator().manual_seed(seed_of(*words))
