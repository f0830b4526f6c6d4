"""Files of weights: ours, published ones, checkpoints."""
