"""Layers that a corpus holds only where `corpus.modalities` names them; one file each, as in the folder above."""
