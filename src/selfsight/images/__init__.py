"""Pure functions of image batches. Every draw comes from a generator that is passed in."""
