"""What several checks want to know of a case: what depends on what, who moves, what pairs, what is drawn."""
