"""Pure tensor functions: what the tasks minimise and what the probes measure."""
