"""HTML pages from runs: one self-contained file each, that opens from disk without a network. Torch-free."""

from selfsight.reporting.page import write_report

__all__ = ["write_report"]
