"""Networks and losses, independent of the pretraining method."""
