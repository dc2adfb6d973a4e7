"""The arms of benchmarks/journal_003.py, and the networks that they train."""
