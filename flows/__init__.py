"""Prefect flows, the command line and the configuration: wiring, no logic."""
