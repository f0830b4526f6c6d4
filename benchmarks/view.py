"""The explorer on a corpus of 1.2 million rows, in headless Chromium with graphics in software.

    python -m benchmarks.view [--quick] [--rows N] [--folder FOLDER]

A corpus is made (`benchmarks.large_corpus`; minutes), or that in FOLDER is taken. The page is opened with an empty
cache: when are all points drawn. Then chips of the first shard are opened one after the other, none beside the last, so
that none was fetched ahead: from the call until every picture is decoded and every value is there. Then the chips that
follow the last, after half a second each. Last, the view moves a little each frame: how long a frame takes, in turns of
the page and of the scatter plot of its library alone, with the same points in the same size. The last line is one JSON
object: first_points_s, chip_p95_ms, frame_x_bare, points. Loads of the machine, before and after, are above it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.browser import CHROMIUM, Page, browsing
from benchmarks.large_corpus import make

_ROWS, _QUICK_ROWS, _CHIPS, _FRAMES, _TURNS = 1_200_000, 5_000, 40, 12, 3
_SHARD_ROWS, _STRIDE, _NEXT = 512, 37, 10
_LOOKED_AT_S = 0.5
_READY = "document.body && document.body.dataset.ready === 'true'"
_SERVE = """
import sys
from functools import partial
from pathlib import Path
from flows.viewer.server import serve
serve(Path(sys.argv[1]), 0, False, partial(print, flush=True))
"""
# Milliseconds until a chip is there: pictures decoded, values fetched.
_CHIP = """
(async () => {{
  const begin = performance.now();
  await explorer.openChip({row});
  await Promise.all([...document.querySelectorAll('#pictures img')].map(one => one.decode().catch(() => null)));
  return performance.now() - begin;
}})()
"""
# Milliseconds of each frame while the view turns; `plot` is the one that is measured.
_FRAME = """
(async () => {{
  const plot = {plot};
  const drawn = () => new Promise(done => plot.subscribe('draw', done, 1));
  const times = [];
  const start = plot.get('cameraView');
  for (let frame = 0; frame < {frames}; frame++) {{
    const begin = performance.now();
    const view = new Float32Array(start);
    view[12] += 0.001 * (frame + 1);
    const done = drawn();
    plot.set({{cameraView: view}});
    await done;
    const canvas = plot.get('canvas');
    canvas.getContext('webgl')?.finish();
    const pen = document.createElement('canvas').getContext('2d');
    pen.drawImage(canvas, 0, 0, 1, 1);
    pen.getImageData(0, 0, 1, 1);
    times.push(performance.now() - begin);
  }}
  plot.set({{cameraView: start}});
  return times;
}})()
"""
_BARE = """
(async () => {
  const map = explorer.map;
  const canvas = Object.assign(document.createElement('canvas'), {id: 'bare'});
  canvas.style.cssText = 'position:fixed;left:0;top:0;z-index:9';
  document.body.append(canvas);
  const { codes, palette } = await explorer.painted();
  const plot = map.constructor.scatterplot({canvas, ...map.size(), pointSize: map.plot.get('pointSize'),
    opacity: map.plot.get('opacity'), colorBy: 'valueA', pointColor: palette});
  await plot.draw({x: map.xs, y: map.ys, z: codes}, {zDataType: 'categorical', spatialIndex: map.index});
  await plot.zoomToArea({x: -1, y: -0.487, width: 2, height: 0.974});
  window.bare = plot;
  return true;
})()
"""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the explorer of a corpus, in a process of its own."""
    command = [sys.executable, "-c", _SERVE, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()


def measure(page: Page, address: str) -> dict[str, float]:
    """The figures of one visit."""
    page.size(1400, 900)
    page.open(address)
    page.wait(_READY, 300)
    first_s = page.run("performance.getEntriesByName('first points')[0].startTime") / 1000
    points = int(page.run("explorer.corpus.chips"))
    page.forget()
    rows = [_STRIDE * place % min(_SHARD_ROWS, points - _NEXT) for place in range(_CHIPS)]
    first_ms, *others_ms = (page.run(_CHIP.format(row=row)) for row in rows)
    asked = sum(f"/chips/{row}/" in url for url in page.requested for row in rows)
    next_ms = [looked_at(page, row) for row in range(rows[-1] + 1, rows[-1] + 1 + _NEXT)]
    page.run("explorer.panel.close()")
    page.run(_BARE)
    ours, bare = frames(page)
    return {
        "first_points_s": round(first_s, 2), "chip_p95_ms": round(statistics.quantiles(others_ms, n=20)[-1], 1),
        "chip_median_ms": round(statistics.median(others_ms), 1), "first_chip_ms": round(first_ms, 1),
        "next_chip_ms": round(statistics.median(next_ms), 1), "requests_a_chip": asked / _CHIPS,
        "frame_ms": round(ours, 1),
        "bare_frame_ms": round(bare, 1),
        "frame_x_bare": round(ours / bare, 3), "points": points,
    }  # fmt: skip


def looked_at(page: Page, row: int) -> float:
    """Milliseconds until a chip is there that follows one which somebody has looked at for a moment."""
    time.sleep(_LOOKED_AT_S)
    return float(page.run(_CHIP.format(row=row)))


def frames(page: Page) -> tuple[float, float]:
    """Median milliseconds of a frame of the page's map, and of the bare plot, in turns."""
    times: dict[str, list[float]] = {"explorer.map.plot": [], "window.bare": []}
    for _ in range(_TURNS):
        for plot, result in times.items():
            result += page.run(_FRAME.format(plot=plot, frames=_FRAMES))[2:]
    ours, bare = (statistics.median(result) for result in times.values())
    return ours, bare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("Chromium is not installed; the explorer is measured in a browser.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "corpus"
        if not folder.exists():
            begin = time.monotonic()
            # In a process of its own: making the corpus takes away fsync.
            maker = multiprocessing.get_context("spawn").Process(
                target=make, args=(folder, options.rows or (_QUICK_ROWS if options.quick else _ROWS))
            )
            maker.start()
            maker.join()
            print(f"corpus made in {time.monotonic() - begin:.0f} s")
        with served(folder) as address, browsing(Path(scratch) / "profile") as page:
            before = os.getloadavg()[0]
            result = measure(page, address) | {"load_before": before, "load_after": os.getloadavg()[0]}
    print("\n".join(f"{name:<16} {value:>12,}" for name, value in result.items()))
    print(json.dumps({name: result[name] for name in ("first_points_s", "chip_p95_ms", "frame_x_bare", "points")}))


if __name__ == "__main__":
    main()
