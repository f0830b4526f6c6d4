"""Tensors and gradients: MP-MAE on the shards; the only package that imports torch."""
