"""Evaluation of encoders: probes and fine-tuning."""
