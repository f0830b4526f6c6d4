"""Devices, processes, throughput and logs, for any training loop."""
