"""PLACEHOLDER-INTERFACE: to be replaced by its author. See signatures."""
from __future__ import annotations
