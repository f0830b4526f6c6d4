"""Devices, processes, clocks and logs: what any training loop needs."""
