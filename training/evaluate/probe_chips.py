"""How many chips of each split a probe looks at where nothing else is said: apart from what needs PyTorch."""

MOST_CHIPS = 5000
