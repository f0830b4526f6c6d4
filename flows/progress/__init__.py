"""Bars for a person, and the progress file for everyone else."""
