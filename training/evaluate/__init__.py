"""What an encoder is worth: probes and fine-tuning."""
