"""`geocorpus search`: the chips of a store of embeddings that are nearest to something, as a table and pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.embeddings.store import EmbeddingStore
from exporters.formats.search.found_chips import FoundChips
from exporters.formats.search.outlines import outlines_of
from exporters.formats.search.search_index import SearchIndex
from flows.extras import require
from pipeline.errors import Fatal, unknown_name
from pipeline.radius_index import xyz_m

if TYPE_CHECKING:
    from training.evaluate.search.neighbours import Neighbours

FUSED = "fused"
_REACH_M = 50_000.0
_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class Question:
    """What is asked for, one of: the id of a `chip`, a point `at` "lon,lat", a vector of an `image`, or examples.

    `like` and `unlike` are ids of chips that are wanted and that are not.
    """

    chip: str = ""
    at: str = ""
    image: Path | None = None
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        asked = [bool(self.chip), bool(self.at), self.image is not None, bool(self.like)]
        if sum(asked) != 1 or (self.unlike and not self.like):
            raise Fatal(
                "ask for one thing: --chip ID, --at LON,LAT, --image FILE, or --like ID with or without --unlike."
            )


@dataclass(frozen=True)
class Answer:
    """The chips that were found, their `places` in the store, a `title`, and whether the first is the one asked for."""

    title: str
    places: NDArray[np.int64]
    chips: FoundChips


@dataclass(frozen=True)
class Search:
    """One view of a store, ready to be asked."""

    store: EmbeddingStore
    view: str

    @classmethod
    def open(cls, path: Path, view: str | None) -> Search:
        """The view of that name; "fused" without one, or the only one. Raises `Fatal` for what cannot be searched."""
        require("train", "a search")
        store = EmbeddingStore.open(path)
        if store.description.per_patch:
            raise Fatal(f"{path} has a vector for each patch, and a search needs one a chip; embed with --per chip.")
        if not len(store.rows):
            raise Fatal(f"{path} has no chips; embed some.")
        chosen = view or (FUSED if FUSED in store.views else store.views[0])
        if chosen not in store.views:
            raise unknown_name(f"view of {path}", chosen, store.views)
        if view is None and chosen != FUSED and len(store.views) > 1:
            raise Fatal(f"{path} has the views {', '.join(store.views)}; say which with --view.")
        return cls(store, chosen)

    def matrix(self) -> NDArray[np.float16]:
        """Vectors of length 1 (rows, width) float16, kept in a folder beside the store."""
        return SearchIndex.beside(self.store.path, self.view, self._digest()).matrix(self._halves)

    def answer(self, question: Question, k: int, vector: NDArray[np.float32] | None = None) -> Answer:
        """The `k` best chips for a question; `vector` is that of its image. Raises `Fatal` where there is no answer."""
        if question.like:
            return self._like(question, k)
        if question.chip or question.at:
            return self._near_chip(*self._asked(question), k)
        assert vector is not None  # noqa: S101
        found = _nearest(self.matrix(), vector, k)
        return self._told(f"the {len(found)} chips nearest to {question.image}", found, "similarity", found.similarity)

    def _asked(self, question: Question) -> tuple[int, str]:
        """The place of the chip that a question is about, and how to call it."""
        if question.chip:
            return int(self._places([question.chip])[0]), question.chip
        lonlat = _point(question.at)
        apart_m = np.linalg.norm(xyz_m(self.store.lonlat) - xyz_m(lonlat[None]), axis=1)
        place = int(apart_m.argmin())
        name, away = self.store.ids[place], f"{apart_m[place] / 1000:,.1f} km"
        if apart_m[place] > _REACH_M:
            raise Fatal(f"no chip is near {question.at}: the nearest, {name}, is {away} away; give a point near one.")
        return place, f"{name}, {away} from {question.at}"

    def _near_chip(self, place: int, name: str, k: int) -> Answer:
        matrix = self.matrix()
        if np.isnan(matrix[place, 0]):
            raise Fatal(
                f"{self.store.ids[place]} has no embedding by {self.view}, as it has no data; ask by another view."
            )
        found = _nearest(matrix, np.asarray(matrix[place], np.float32), k + 1).beginning_with(place)
        title = f"the {len(found) - 1} chips nearest to {name}"
        return self._told(title, found, "similarity", found.similarity, first_rank=0)

    def _like(self, question: Question, k: int) -> Answer:
        from training.evaluate.search.examples import Direction

        matrix, like, unlike = self.matrix(), self._places(question.like), self._places(question.unlike)
        wanted, unwanted = (self._known(matrix, places) for places in (like, unlike))
        if not len(unlike):
            found = _nearest(matrix, wanted.mean(axis=0), k)
            return self._told(f"the {len(found)} chips most like {len(like)}", found, "similarity", found.similarity)
        if set(like.tolist()) & set(unlike.tolist()):
            raise Fatal("a chip cannot be both wanted and not; take it from --like or from --unlike.")
        direction = Direction.of(wanted, unwanted)
        found = _nearest(matrix, direction.weights, k)
        title = f"the {len(found)} chips most like {len(like)} and unlike {len(unlike)}"
        return self._told(title, found, "probability", direction.probabilities(found.similarity))

    def _known(self, matrix: NDArray[np.float16], places: NDArray[np.int64]) -> NDArray[np.float32]:
        vectors = np.asarray(matrix[places], np.float32)
        for place in places[np.isnan(vectors).any(axis=1)]:
            raise Fatal(f"{self.store.ids[place]} has no embedding by {self.view}, so it is no example; leave it out.")
        return vectors

    def _places(self, ids: Sequence[str]) -> NDArray[np.int64]:
        known = {name: place for place, name in enumerate(self.store.ids.tolist())}
        for name in ids:
            if name not in known:
                raise Fatal(f"{self.store.path} has no chip {name!r}; its ids are like {self.store.ids[0]!r}.")
        return np.array([known[name] for name in dict.fromkeys(ids)], np.int64)

    def _told(
        self, title: str, found: Neighbours, score_name: str, score: NDArray[np.float64], first_rank: int = 1
    ) -> Answer:
        store, at = self.store, found.rows
        shapes = outlines_of(store, at)
        chips = FoundChips(store.ids[at], store.rows[at], store.lonlat[at], shapes, score_name, score, first_rank)
        return Answer(f"{title}, by {self.view}", at, chips)

    def _digest(self) -> str:
        """Of what decides the vectors: the weights, the chips, what was left out, and how they are stored."""
        stored = (self.store.path / self.view / "embeddings" / "zarr.json").read_bytes()
        about = json.dumps(self.store.description.to_dict(), sort_keys=True).encode()
        return hashlib.sha256(b"\n".join([about, stored, self.store.rows.tobytes()])).hexdigest()

    def _halves(self) -> NDArray[np.float16]:
        from training.evaluate.search.unit_rows import unit_rows

        starts = range(0, len(self.store.rows), _BLOCK_ROWS)
        return np.concatenate([unit_rows(self.store.values(self.view, slice(at, at + _BLOCK_ROWS))) for at in starts])


def _nearest(matrix: NDArray[np.float16], query: NDArray[Any], k: int) -> Neighbours:
    from training.evaluate.search.nearest import nearest

    try:
        return nearest(matrix, np.asarray(query)[None], k)[0]
    except ValueError as error:
        raise Fatal("these examples have no direction in common; give others.") from error


def _point(text: str) -> NDArray[np.float64]:
    """Longitude and latitude (2,), degrees."""
    try:
        lon, lat = map(float, text.split(","))
    except ValueError as error:
        raise Fatal(f"--at {text!r} is no place; write it as LON,LAT in degrees, such as 8.5,47.4.") from error
    if not (-180 <= lon <= 360 and -90 <= lat <= 90):
        raise Fatal(f"--at {text!r} is no place on Earth; longitude comes first.")
    return np.array([lon, lat])
