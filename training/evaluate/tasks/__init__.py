"""Kinds of labels: what each costs in training, and how predictions of it are scored."""
