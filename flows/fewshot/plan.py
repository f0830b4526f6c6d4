"""What `geocorpus fewshot` is asked to compare, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flows.fewshot.target import Target, file_name
from pipeline.errors import Fatal, unknown_name

FAMILIES = ("nearest", "linear", "forest")


@dataclass(frozen=True)
class Named:
    """Weights as `geocorpus embed` takes them, or a store of embeddings, under the `name` that tables give them."""

    name: str
    source: str

    @classmethod
    def of(cls, text: str) -> Named:
        """From NAME=WEIGHTS or WEIGHTS, which is then called as its folder or file is."""
        name, sep, source = text.partition("=")
        if sep and name and source and "/" not in name:
            return cls(name.strip(), source.strip())
        path = Path(text)
        return cls(path.stem if path.suffix else path.name, text)

    @property
    def is_store(self) -> bool:
        """Whether it is a store of embeddings, not weights."""
        return (Path(self.source) / "zarr.json").is_file()


@dataclass(frozen=True)
class Plan:
    """Encoders, the first of which the others are compared with, targets, and the protocol.

    `shots` None takes 10, 20, 50, 100, 200, 500, 1,000 as far as there are labels; all labels always follow. `without`
    has sensors or channels left out at inference, several joined by commas; "sensors" and "channels" stand for each of
    them in turn. `regions` is a column of the manifest. `most_chips` limits each split.
    """

    corpus: Path
    encoders: tuple[Named, ...]
    targets: tuple[Target, ...]
    alone: str | None = None
    without: tuple[str, ...] = ()
    regions: str | None = None
    shots: tuple[int, ...] | None = None
    draws: int = 20
    families: tuple[str, ...] = FAMILIES
    resamples: int = 1000
    seed: int = 0
    most_chips: int | None = None

    def __post_init__(self) -> None:
        if not self.encoders:
            raise Fatal("there is no encoder to look at; give one with --encoder WEIGHTS.")
        if self.encoders[0].is_store:
            raise Fatal(
                f"{self.encoders[0].source} holds embeddings, and the first encoder must be weights, whose random twin "
                "is compared as well; give them with an --encoder before it."
            )
        if not self.targets:
            raise Fatal("there is nothing to tell; give a layer, a column or a raster with --target.")
        for family in self.families:
            if family not in FAMILIES:
                raise unknown_name("family of models", family, FAMILIES)
        _refuse_twice("encoder", [item.name for item in self.encoders])
        _refuse_twice("target", [item.name for item in self.targets])
        _refuse_twice("target file", [file_name(item.name) for item in self.targets])

    @property
    def weights(self) -> tuple[Named, ...]:
        """The encoders that are weights."""
        return tuple(item for item in self.encoders if not item.is_store)

    @property
    def stores(self) -> tuple[Named, ...]:
        """The encoders of which there are embeddings alone."""
        return tuple(item for item in self.encoders if item.is_store)

    @property
    def families_of_parts(self) -> tuple[str, ...]:
        """The families for views that are not all of an encoder; the last is that of tables of regions."""
        return tuple(name for name in _OF_PARTS if name in self.families) or self.families[:1]


# Models for views that are no encoder's whole: forests take the longest.
_OF_PARTS = ("nearest", "linear")


def _refuse_twice(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise Fatal(f"two {what}s are called {name!r}; give one another name, as NAME=...")
