"""The default number of chips of each split for a probe, in a module that does not import PyTorch."""

MOST_CHIPS = 5000
