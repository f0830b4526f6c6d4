"""What a file with a method of pretraining needs, for `pretrain.method_file`; docs/methods.md has a whole one.

Needs PyTorch, with which `import geocorpus` alone does without.
"""

from pipeline.errors import Fatal
from training.batch import Batch
from training.config import PretrainConfig
from training.layer import Layer
from training.method import CardText, Drawing, Exported, Method
from training.model.encoder import Encoder, initialise
from training.model.image import image_of
from training.pretext import AdditivePretext, JointPretext, Objective, Pretext, encoder_of
from training.sample import Sample

__all__ = [
    "AdditivePretext", "Batch", "CardText", "Drawing", "Encoder", "Exported", "Fatal", "JointPretext", "Layer",
    "Method", "Objective", "PretrainConfig", "Pretext", "Sample", "encoder_of", "image_of", "initialise",
]  # fmt: skip
