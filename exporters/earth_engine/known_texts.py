"""What Earth Engine says when it refuses, what is then done, and where each text was seen: the rows of the table.

Its client passes on nothing but the text, and the status is 400 for what passes and for what never will, so the text
decides. docs/refusals.md shows the table to users.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Do(Enum):
    """What is done about a refusal, in the words of the documentation."""

    SLOW_DOWN = "all requests are slowed down, and this one is sent again"
    LESS = "the request is divided"
    ONCE_MORE_THEN_LESS = "sent once more after a while, then divided"
    NO_DATA = "the layer has no data there, which is recorded"
    NO_ASSET = "of a scene: no data, recorded; of an asset that all need: the run stops"
    SIGN_IN = "the run stops and names the credentials that were used"
    LATER = "sent again after a while, up to `source.attempts` times"


@dataclass(frozen=True)
class KnownText:
    """One row: a pattern that is looked for in any case, what to do, a text as it was seen, and where."""

    pattern: str
    do: Do
    example: str
    seen: str

    def matches(self, message: str) -> bool:
        return re.search(self.pattern, message, re.IGNORECASE) is not None


_GUIDES = "developers.google.com/earth-engine/guides"
_DEBUGGING, _QUOTA = f"{_GUIDES}/debugging", f"{_GUIDES}/usage"
AGGREGATIONS = KnownText(
    "too many concurrent aggregations", Do.LESS, "Too many concurrent aggregations.", "Vizzuality/mangrove-atlas#1522"
)
# The first that matches decides. Aggregations come first: that text may begin with "Quota exceeded", but such a request
# is refused again as it is.
KNOWN_TEXTS: tuple[KnownText, ...] = (
    AGGREGATIONS,
    KnownText("too many requests|too many concurrent requests|rate limit|resource_exhausted", Do.SLOW_DOWN,
              "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded.",
              _QUOTA),
    KnownText("quota exceeded", Do.SLOW_DOWN,
              "Quota exceeded for quota metric 'Number of read requests' and limit '... per minute per user'",
              "gee-community/qgis-earthengine-plugin#202"),
    KnownText("user memory limit exceeded", Do.LESS, "User memory limit exceeded.", "gee-community/geemap#1465"),
    KnownText("(memory )?capacity exceeded", Do.ONCE_MORE_THEN_LESS, "Earth Engine memory capacity exceeded.",
              "openearth/hydro-engine#35, after some 10,000 requests"),
    KnownText("out of memory", Do.ONCE_MORE_THEN_LESS, "Execution failed; out of memory.", "r-spatial/rgee#220"),
    KnownText("(computation|request) timed out", Do.ONCE_MORE_THEN_LESS, "Computation timed out.",
              "gee-community/geemap#1790"),
    KnownText("total request size|must be less than or equal to 50331648", Do.LESS,
              "Total request size (56623104 bytes) must be less than or equal to 50331648 bytes.", "google/Xee#50"),
    KnownText("number of bands", Do.LESS, "Number of bands (1025) must be less than or equal to 1024.", _QUOTA),
    KnownText("pixel grid dimensions", Do.LESS,
              "Pixel grid dimensions (40000x1) must be less than or equal to 32768.", _QUOTA),
    KnownText("request entity too large|payload size exceeds", Do.LESS,
              "Request payload size exceeds the limit: 10485760 bytes.", "gee-community/geemap#1092"),
    KnownText("response size exceeds", Do.LESS, "Response size exceeds limit", "public code that retries it"),
    KnownText("computed value is too large|computed (image|object) is too large|object too large", Do.LESS,
              "Computed value is too large. (Error code: 3)", "eMapR/LT-GEE#34, VeinsOfTheEarth/rabpro#147"),
    KnownText("output of image computation is too large", Do.LESS,
              "Output of image computation is too large (20 bands for 851968 pixels = 126.8 MiB > 80.0 MiB).",
              "public code that retries it; named by leftfield-geospatial/geedim too"),
    KnownText("too many pixels", Do.LESS,
              "Image.reduceRegion: Too many pixels in the region. Found 36194605, but maxPixels allows only 10000000.",
              "gee-community/geemap#122"),
    KnownText("aborted after accumulating", Do.LESS,
              "Collection query aborted after accumulating over 5000 elements.", _DEBUGGING),
    KnownText("did not match any bands", Do.NO_DATA,
              "Image.select: Pattern 'MSK_CLDPRB' did not match any bands. Available bands: [B1, B2]",
              "geeet, issue 26"),
    KnownText("image with no bands", Do.NO_DATA,
              "Image.select: Band pattern 'label' was applied to an Image with no bands.", "topo-satromo, issue 101"),
    KnownText("(may not|must not|cannot) be null|is required and may not", Do.NO_DATA,
              "Image.bandNames: Parameter 'image' is required and may not be null.", _DEBUGGING),
    KnownText(r"no valid \(un-masked\) pixels", Do.NO_DATA,
              "No valid (un-masked) pixels in export region.", "allenai/rslearn#233"),
    KnownText("asset '.*' not found|does not exist or caller does not have access", Do.NO_ASSET,
              "Image.load: Image asset 'A/B' not found (does not exist or caller does not have access).", _DEBUGGING),
    KnownText("unauthenticated|invalid authentication|insufficient authentication|permission|not signed up|"
              "not registered|has not been used in project", Do.SIGN_IN,
              "Not signed up for Earth Engine or project is not registered.", "ee.Initialize, in its own code"),
    KnownText("internal error|backend error", Do.LATER, "An internal error has occurred.", _DEBUGGING),
    KnownText("unavailable|try again|deadline exceeded|connection reset", Do.LATER,
              "The service is currently unavailable.", "public code that retries it"),
)  # fmt: skip


def known(message: str) -> KnownText | None:
    """The row of a text; None for one that is not known."""
    return next((row for row in KNOWN_TEXTS if row.matches(message)), None)


def as_markdown() -> str:
    """The table as docs/refusals.md has it."""
    rows = [f"| `{row.example}` | {row.do.value} | {row.seen} |" for row in KNOWN_TEXTS]
    return "\n".join(["| text, in any case and as a part | what is done | seen in |", "|---|---|---|", *rows])
