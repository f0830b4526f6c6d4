"""One file per method of pretraining."""
