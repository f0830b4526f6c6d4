"""What contrastive pretraining over sensors learns on the sandbox's planet, and what it costs to leave parts out.

    python -m benchmarks.contrast [--case seasonal] [--quick] [--folder FOLDER] [--steps 400]

Builds a corpus in FOLDER (or takes the one that is there), trains the preset `sensors_small` on its sensors (or takes
the finished run), and looks at places of other regions: how often the nearest view by another sensor is that of the
same chip, as it is, and with each channel left out; and how well a linear probe on the mean of a chip's views tells its
land cover, with each sensor left out. The case `seasonal` is the corpus of `geocorpus build sensors` in tiles of 64 px;
`scenes` has single scenes of Sentinel-2 and Sentinel-1, and elevation. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows import stages
from flows.progress.display import display
from flows.settings import Settings, load, parse
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from training.config import PRESETS
from training.data.label import Labels, labels_of
from training.evaluate.probe import Probe, linear_probe
from training.evaluate.retrieval import Recall, recall_at_1
from training.evaluate.views import Views, together, views_of
from training.pretrain.train import pretrain
from training.weights.pretrained import Pretrained
from training.weights.weights import load_encoder

SCENES, SEASONAL = "scenes", "seasonal"
SENSORS = {
    SCENES: ("sentinel2", "sentinel1", "aster"),
    SEASONAL: ("sentinel2_seasonal_rgb", "sentinel1_seasonal_amplitude", "gssic_coherence"),
}
LABEL = "esa_worldcover"
Towers = dict[str, Pretrained]


@dataclass(frozen=True)
class Figure:
    """A score in percent, its 95 % interval, and what a guess would score."""

    name: str
    score: float
    interval: tuple[float, float]
    chance: float

    @classmethod
    def of_recall(cls, name: str, result: Recall) -> Figure:
        """Recall at 1 among the chips that both sensors saw."""
        low, high = result.interval
        return cls(name, 100 * result.score, (100 * low, 100 * high), 100 * result.chance)

    @classmethod
    def of_probe(cls, name: str, result: Probe) -> Figure:
        """Accuracy of a linear probe."""
        low, high = result.interval()
        return cls(name, 100 * result.score, (100 * low, 100 * high), 100 * result.chance)

    def line(self) -> str:
        """For the table."""
        low, high = self.interval
        return f"{self.name:<44}{self.score:6.1f} [{low:.1f}, {high:.1f}]   chance {self.chance:.1f}"


def settings_of(case: str, folder: Path, chips: int) -> Settings:
    """Of a corpus of the case's sensors and land cover: splits are whole cells of four degrees, or angled bands."""
    corpus = {"folder": str(folder), "size_px": 64, "shard_rows": 256, "modalities": [*SENSORS[case], LABEL]}
    if case == SEASONAL:
        given = [f"corpus.{name}={value}" for name, value in corpus.items()]
        return load("sensors", [*given, "source.project=sandbox", f"sampling.locations={chips}"])
    split = {"train": 0.7, "val": 0.1, "test": 0.2, "cell_deg": 4.0}
    return parse({"corpus": corpus, "sampling": {"locations": chips}, "split": split})


def build(settings: Settings) -> Corpus:
    """The corpus, which goes on where it was stopped."""
    folder = settings.folder
    if not (folder / MANIFEST).exists() or Corpus.open(folder).missing():
        with display() as progress, stages.earth_engine(settings) as engine:
            stages.sample(settings, engine, progress)
            for stage in (stages.anchor, stages.export):
                stage(settings, engine, progress)
            stages.finalize(settings, progress)
    return Corpus.open(folder)


def trained(corpus: Corpus, run: Path, sensors: tuple[str, ...], steps: int) -> Towers:
    """The towers of a run, which goes on where it was stopped."""
    config = replace(PRESETS["sensors_small"], inputs=sensors, steps=steps, pictures_every=0)
    with display() as progress:
        pretrain(corpus.folder, config, run, progress)
    return {name: load_encoder(run / f"encoder-{name}.safetensors") for name in sensors}


def retrievals(corpus: Corpus, towers: Towers, rows: NDArray[np.int64]) -> Iterator[Figure]:
    """Recall of every pair, both ways; then of the pair of a channel's sensor and another, without that channel."""
    views = {name: views_of(tower, corpus, rows) for name, tower in towers.items()}
    for one, other in permutations(views, 2):
        yield Figure.of_recall(f"{one} to {other}", recall(views[one], views[other]))
    for name, tower in towers.items():
        other = next(item for item in views if item != name)
        for band in tower.normalisation.band_names[name]:
            fewer = views_of(tower, corpus, rows, without=(band,))
            yield Figure.of_recall(f"{name} without {band} to {other}", recall(fewer, views[other]))


def recall(one: Views, other: Views) -> Recall:
    """Of the chips that both sensors saw."""
    both = one.present & other.present
    return recall_at_1(one.vectors[both], other.vectors[both])


def probes(corpus: Corpus, towers: Towers, train: NDArray[np.int64], test: NDArray[np.int64]) -> Iterator[Figure]:
    """Land cover from the mean of all views, without each of the sensors, and from each sensor alone."""
    px = next(iter(towers.values())).encoder.architecture.to_dict()["image_px"]
    labels = [labels_of(corpus, LABEL, rows, px) for rows in (train, test)]
    views = {name: [views_of(tower, corpus, item.rows) for item in labels] for name, tower in towers.items()}
    fewer = {f"without {name}": tuple(item for item in views if item != name) for name in views}
    alone = {f"{name} alone": (name,) for name in views}
    for title, names in {"all sensors": tuple(views), **fewer, **alone}.items():
        parts = [together([views[name][part] for name in names]) for part in (0, 1)]
        yield Figure.of_probe(f"land cover, {title}", probe(parts, labels))


def probe(views: list[Views], labels: list[Labels]) -> Probe:
    """A linear probe on the views of train and test chips; a chip that no sensor saw has zeros."""
    (train, test), (known, asked) = views, labels
    return linear_probe(train.vectors, known.values, test.vectors, asked.values)


def main() -> None:
    """Build, train, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=tuple(SENSORS), default=SCENES)
    parser.add_argument("--quick", action="store_true", help="200 places, 20 steps: that it runs")
    parser.add_argument("--folder", type=Path, help="keeps the corpus and the run; a temporary one by default")
    parser.add_argument("--steps", type=int, default=PRESETS["sensors_small"].steps)
    given = parser.parse_args()
    chips, steps = (200, 20) if given.quick else (1600, given.steps)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        corpus = build(settings_of(given.case, folder / "corpus", chips))
        towers = trained(corpus, folder / "run", SENSORS[given.case], steps)
        test = np.sort(np.concatenate([corpus.manifest.rows_of(split) for split in ("val", "test")]))
        figures = [*retrievals(corpus, towers, test), *probes(corpus, towers, corpus.manifest.rows_of("train"), test)]
    print("\n".join(item.line() for item in figures))
    print(json.dumps({item.name: [round(value, 1) for value in (item.score, *item.interval, item.chance)]
                      for item in figures}))  # fmt: skip


if __name__ == "__main__":
    main()
