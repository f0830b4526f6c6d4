"""The training loop: what a run will do, its steps and what it leaves."""
