"""Encoders on the field's benchmarks: labelled images prepared, probed, fine-tuned on, and written down."""
