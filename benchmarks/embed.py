"""Embedding the chips of a corpus into a store, beside the encoder's forward pass alone on ready images.

    python -m benchmarks.embed [--quick] [--encoder NAME] [--chips N] [--rounds N]

`geocorpus embed --to embeddings` as it is (opening the corpus, reading, normalising, computing, writing, and putting
the store in its place) takes turns with the same encoder on one batch in memory, on a GPU where torch finds one. Chips
are of twelve bands and 128 px; weights are random. The last line is one JSON object: fraction_of_forward (the median
over rounds), fraction_of_forward_cpu (the same of processor time, which other work on the machine changes less),
chips_per_s, forward_chips_per_s, load (of the machine in the last minute, over its cores), encoder, device.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.made_corpus import INPUT, SIZE_PX, made_corpus
from exporters.formats.choice import Choice
from flows.embedding import EMBEDDINGS, EmbeddingFile, Source
from pipeline.corpus import Corpus
from pipeline.lock import RUNS
from pipeline.progress import Silent
from training.architecture import SIZES
from training.evaluate.embedder import BATCH_ROWS
from training.evaluate.finetuned import best_device
from training.layer import layer_of
from training.model.encoder import Encoder, initialise
from training.model.normalisation import Normalisation
from training.weights.pretrained import Pretrained
from training.weights.weights import save_encoder

_PATCH_PX = 16


@dataclass(frozen=True)
class Scale:
    """The encoder, chips in the store, and rounds."""

    encoder: str
    chips: int
    rounds: int


FULL, QUICK = Scale("atto", 1024, 5), Scale("zepto", 128, 1)


@dataclass(frozen=True)
class Took:
    """Seconds by the clock, and of processors."""

    wall_s: float
    cpu_s: float

    @classmethod
    def now(cls) -> Took:
        """What has passed since some moment."""
        return cls(time.perf_counter(), time.process_time())

    def __sub__(self, other: Took) -> Took:
        return Took(self.wall_s - other.wall_s, self.cpu_s - other.cpu_s)


@dataclass(frozen=True)
class Turns:
    """What both ways take in one corpus, and the forward pass alone."""

    run: Path
    encoder: Encoder
    chips: int
    device: torch.device

    def whole(self, target: Path) -> Took:
        """The whole command."""
        began = Took.now()
        EmbeddingFile(target, EMBEDDINGS).write(Source(str(self.run)), Choice(), Silent())
        return Took.now() - began

    def forward(self, images: torch.Tensor) -> Took:
        """The encoder alone on as many chips."""
        began = Took.now()
        with torch.inference_mode():
            for _ in range(0, self.chips, BATCH_ROWS):
                self.encoder(images)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return Took.now() - began


def prepare(folder: Path, scale: Scale) -> Turns:
    """A corpus with a run of random weights."""
    corpus = made_corpus(folder / "corpus", scale.chips, os.cpu_count() or 1)
    corpus.finalize()
    corpus = Corpus.open(corpus.folder)
    normalisation = Normalisation.of([layer_of(corpus, INPUT, {})])
    encoder = Encoder(normalisation.channels, SIZES[scale.encoder], _PATCH_PX)
    initialise(encoder)
    run = corpus.folder / RUNS / scale.encoder
    save_encoder(run / "encoder.safetensors", Pretrained(encoder, normalisation))
    device = best_device()
    return Turns(run, encoder.eval().to(device), scale.chips, device)


def measure(turns: Turns, folder: Path, rounds: int) -> tuple[list[Took], list[Took]]:
    """The whole and the forward pass in each round, after a warm-up."""
    shape = (BATCH_ROWS, turns.encoder.architecture.channels, SIZE_PX, SIZE_PX)
    images = torch.randn(shape, device=turns.device).contiguous(memory_format=torch.channels_last)
    turns.forward(images)
    pairs = []
    for number in range(rounds):
        pairs.append((turns.whole(folder / f"{number}.zarr"), turns.forward(images)))
        whole, forward = pairs[-1]
        print(f"round {number + 1}: embed {whole.wall_s:.1f} s, forward alone {forward.wall_s:.1f} s", flush=True)
    return [whole for whole, _ in pairs], [forward for _, forward in pairs]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--encoder", choices=sorted(SIZES))
    parser.add_argument("--chips", type=int)
    parser.add_argument("--rounds", type=int)
    given = parser.parse_args()
    usual = QUICK if given.quick else FULL
    scale = Scale(given.encoder or usual.encoder, given.chips or usual.chips, given.rounds or usual.rounds)
    with tempfile.TemporaryDirectory() as folder:
        turns = prepare(Path(folder), scale)
        whole, forward = measure(turns, Path(folder), scale.rounds)
    walls = [(all_of_it.wall_s, alone.wall_s) for all_of_it, alone in zip(whole, forward, strict=True)]
    cpus = [(all_of_it.cpu_s, alone.cpu_s) for all_of_it, alone in zip(whole, forward, strict=True)]
    figures = {
        "fraction_of_forward": _fraction(walls),
        "fraction_of_forward_cpu": _fraction(cpus),
        "chips_per_s": round(scale.chips / statistics.median(all_of_it for all_of_it, _ in walls), 1),
        "forward_chips_per_s": round(scale.chips / statistics.median(alone for _, alone in walls), 1),
        "load": round(os.getloadavg()[0] / (os.cpu_count() or 1), 2),
        "encoder": scale.encoder,
        "device": turns.device.type,
    }
    print(json.dumps(figures))


def _fraction(pairs: Sequence[tuple[float, float]]) -> float:
    return round(statistics.median(alone / whole for whole, alone in pairs), 3)


if __name__ == "__main__":
    main()
