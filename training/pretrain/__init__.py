"""The training loop: resolving the configuration, steps, metrics and results."""
