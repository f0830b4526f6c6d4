"""The explorer in a real browser, by mouse and keyboard: filter, draw an area, open a chip, compare its values."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from benchmarks.browser import CHROMIUM, Page, browsing
from exporters.report.report import write_report
from flows.viewer.export import export
from flows.viewer.likeness import Likeness
from flows.viewer.server import Beside, application
from pipeline.corpus import Corpus
from pipeline.drawing import draw_all
from pipeline.progress import Silent
from tests.exporters.report_corpus import REASON, make_corpus
from tests.flows.viewer.conftest import served
from tests.flows.viewer.flagged_corpus import CHIPS, make_flagged
from tests.flows.viewer.run_folder import event, losses_at, make_run, record

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed, so no browser can open the explorer"),
    pytest.mark.slow,
    pytest.mark.xdist_group("explorer"),
]
ENDS = range(1, 21), range(61, 81)  # of a run of 80 steps
READY = "document.body && document.body.dataset.ready === 'true'"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def flagged(tmp_path: Path) -> Corpus:
    return make_flagged(tmp_path / "flagged")


@pytest.fixture
def page(browser: Page, address: str) -> Page:
    browser.size(1400, 900)
    return opened(browser, address)


def opened(browser: Page, address: str) -> Page:
    browser.open("about:blank")
    browser.forget()
    browser.open(address)
    browser.wait(READY)
    return browser


def rows_shown(page: Page) -> list[int]:
    texts = page.run("[...document.querySelectorAll('#rows button')].map(one => one.textContent)")
    return [int(text.split(" ")[0]) for text in texts]


def choose(page: Page, column: str, label: str) -> None:
    """Opens a filter by the mouse, and ticks one of its classes."""
    page.click(f"[id='filter-{column}'] summary")
    box = f"[id='filter-{column}'] input[data-key={json.dumps(label)}]"
    page.wait(f"document.querySelector({json.dumps(box)}) !== null")
    before = page.run("document.getElementById('count').textContent")
    page.click(box)
    page.wait(f"document.getElementById('count').textContent !== {json.dumps(before)}")


def wait_for_values(page: Page) -> None:
    page.wait("[...document.querySelectorAll('#pictures output')].some(one => one.textContent)")


def said_of(page: Page, layer: str) -> str:
    return str(page.run(f"document.querySelector('[data-layer={layer}] output').textContent"))


def point_at(page: Page, layer: str, x_px: int, y_px: int, size_px: int) -> None:
    selector = f"[data-layer={layer}] .picture"
    page.middle(selector)
    left, top, width = page.run(
        f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
        " return [box.x, box.y, box.width]; })()"
    )
    page.mouse("mouseMoved", left + (x_px + 0.5) / size_px * width, top + (y_px + 0.5) / size_px * width)


def test_a_chip_without_radar_in_a_biome_and_its_elevation_under_the_cursor(page: Page, corpus: Corpus) -> None:
    """The way of docs/explorer.md, step by step."""
    names = corpus.manifest.column("biome_name")
    reason = REASON.replace(" 30", "")
    lacking = {row for entry in corpus.entries("echo") for row in entry.missing}
    row = min(row for row in lacking if names[row] and row not in next(iter(corpus.entries("relief"))).missing)
    choose(page, "biome", str(names[row]))
    choose(page, "layer:echo", reason)
    wanted = sorted(each for each in lacking if names[each] == names[row])
    assert rows_shown(page) == wanted
    assert page.run("document.getElementById('count').textContent") == f"{len(wanted)} of {len(corpus.manifest)} chips"
    page.click("#rows button")
    wait_for_values(page)
    assert page.run("document.querySelector('.picture.none').textContent") == REASON
    size_px = corpus.manifest.size_px
    stored = corpus.modality("relief").physical(corpus.read("relief", slice(wanted[0], wanted[0] + 1)))[0, 0]
    for x_px, y_px in ((0, 0), (3, size_px - 1), (size_px // 2, 5)):
        point_at(page, "relief", x_px, y_px, size_px)
        value = stored[y_px, x_px]
        assert said_of(page, "relief") == ("no data" if np.isnan(value) else f"{value:g} m")
    assert page.complaints == []


def test_the_same_ground_in_all_layers(page: Page, corpus: Corpus) -> None:
    page.run("explorer.openChip(1)")
    wait_for_values(page)
    size_px = corpus.manifest.size_px
    point_at(page, "relief", 4, 9, size_px)
    cover = corpus.modality("cover")
    code = int(corpus.read("cover", slice(1, 2))[0, 0, 9, 4])
    assert said_of(page, "cover") == next((item.name for item in cover.categories if item.code == code), "no data")
    photo = corpus.modality("photo").physical(corpus.read("photo", slice(1, 2)))[0, :, 9, 4]
    shown = (
        dict(part.split(" ") for part in said_of(page, "photo").split(" · ")) if "·" in said_of(page, "photo") else {}
    )
    for name, text in shown.items():
        assert float(text) == pytest.approx(photo[corpus.modality("photo").band_names.index(name)], rel=1e-4)
    assert len(shown) == 3
    page.key("Escape")
    assert page.run("document.getElementById('chip').hidden")


def test_an_area_that_is_drawn_chooses_what_lies_in_it_and_is_a_permanent_link(
    page: Page, corpus: Corpus, address: str
) -> None:
    page.click("#lasso")
    left, top, width, height = page.run(
        "(() => { const box = document.getElementById('map').getBoundingClientRect();"
        " return [box.x, box.y, box.width, box.height]; })()"
    )
    corners = [(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0), (0.5, 0.02)]  # the eastern half
    at = [(left + 1 + x * (width - 2), top + 1 + y * (height - 2)) for x, y in corners]
    page.mouse("mousePressed", *at[0], 1)
    for (x0, y0), (x1, y1) in zip(at, at[1:], strict=False):
        for step in range(1, 11):
            page.mouse("mouseMoved", x0 + (x1 - x0) * step / 10, y0 + (y1 - y0) * step / 10, 1)
    page.mouse("mouseReleased", *at[-1])
    page.wait("document.getElementById('area').textContent !== ''")
    shown = rows_shown(page)
    east = corpus.manifest.column("lon")
    assert {row for row in range(len(east)) if east[row] > 8} <= set(shown)
    assert not {row for row in range(len(east)) if east[row] < -8} & set(shown)
    link = page.run("location.href")
    assert rows_shown(opened(page, link)) == shown
    assert rows_shown(opened(page, address)) == list(range(len(corpus.manifest)))


# Once the map has the size of its place: the largest distance of a drawn point from where it lies on the outlines.
ALIGNED = """
(() => {
  const { map } = explorer;
  const { width, height } = map.size();
  if (map.plot.get('width') !== width || map.plot.get('height') !== height) return false;
  return Math.max(...Array.from(map.xs, (x, row) => {
    const [left, top] = map.plot.getScreenPosition(row);
    return Math.hypot(left - map.x(x), top - map.y(map.ys[row]));
  })) < 1;
})()
"""


def test_points_lie_on_the_outlines_whatever_size_the_map_gets(page: Page) -> None:
    for width_px, height_px in ((1400, 900), (1000, 900), (1400, 700), (400, 800)):
        page.size(width_px, height_px)
        page.wait(ALIGNED)
        assert page.run("explorer.map.x.domain()") == pytest.approx([-1, 1], abs=0.3)
    left, top = page.middle("#map")
    page.ask("Input.dispatchMouseEvent", type="mouseWheel", x=left, y=top, deltaX=0, deltaY=-400)
    page.wait("explorer.map.x.domain()[1] - explorer.map.x.domain()[0] < 1.5")
    page.size(1200, 900)
    page.wait(ALIGNED)


def test_every_place_is_drawn(page: Page, corpus: Corpus) -> None:
    """Also where the page is larger than the screen, as it is when it is zoomed out."""
    page.wait(ALIGNED)
    page.wait(
        "(() => { const { map } = explorer; const ratio = devicePixelRatio;"
        " const pen = map.canvas.getContext('2d'); return [...map.xs].every((x, row) =>"
        " pen.getImageData(Math.round(map.x(x) * ratio), Math.round(map.y(map.ys[row]) * ratio), 1, 1).data[3] > 0);"
        " })()"
    )
    assert page.run("explorer.map.size().width") > page.run("screen.availWidth")


def test_a_whole_visit_by_the_keyboard(page: Page) -> None:
    page.run("document.querySelectorAll('#rows button')[2].focus()")
    page.key("Enter")
    wait_for_values(page)
    assert page.run("document.getElementById('chip-place').textContent").startswith("3 of")
    page.key("ArrowRight")
    page.wait("document.getElementById('chip-place').textContent.startsWith('4 of')")
    wait_for_values(page)
    before = page.run("document.getElementById('cursor').textContent")
    page.run("document.querySelector('.picture[tabindex]').focus()")
    page.key("ArrowLeft")
    after = page.run("document.getElementById('cursor').textContent")
    x_px = [int(re.search(r"pixel (\d+)", text).group(1)) for text in (before, after)]  # type: ignore[union-attr]
    assert x_px[0] - x_px[1] == 1
    page.key("Escape")
    assert page.run("document.getElementById('chip').hidden") is True


def charts(page: Page) -> dict[str, str]:
    """What became of each loss of the run that is open, by its name."""
    texts = "['b', 'span'].map(tag => one.querySelector(tag).textContent)"
    return dict(page.run(f"[...document.querySelectorAll('#losses .chart')].map(one => {texts})"))


def test_a_training_run_and_the_chips_in_its_pictures(page: Page, corpus: Corpus) -> None:
    """By the mouse: its losses are those of its log, and a chip of its pictures is opened."""
    page.click("#open-runs")
    page.wait("document.querySelectorAll('#losses .chart').length === 4")
    shown = charts(page)
    for name, words in (("photo", "\u2193 falls"), ("echo", "\u2191 rises"), ("<b>cover</b>", "\u2192 stays")):
        said = re.fullmatch(rf"{words}: (\S+) to (\S+) \((\d+) %\)", shown[name])
        first, last = (np.mean([losses_at(step)[f"loss/{name}"] for step in steps]) for steps in ENDS)
        assert said is not None, shown
        assert [float(part) for part in said.groups()] == pytest.approx([first, last, 100 * last / first], rel=0.01)
    state = page.run("document.getElementById('run-state').textContent")
    assert state.startswith("Step 80 of 100, ") and state.endswith(". 1 of 3 losses fell by a tenth or more.")
    assert page.run("document.querySelector('#losses b b') === null && document.querySelector('#run-name i') === null")
    left, top, width, height = page.run(
        "(() => { const one = document.querySelector('[data-loss=photo] svg'); one.scrollIntoView({block: 'center'});"
        " const box = one.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; })()"
    )
    page.mouse("mouseMoved", left + 0.4 * width, top + height / 2)
    assert page.run("document.querySelector('[data-loss=photo] output').textContent") == "step 40: 0.733"
    page.wait("document.getElementById('reconstruction').naturalWidth === 300")
    page.click("#drawn button")
    wait_for_values(page)
    chip = corpus.manifest[3].location.id
    assert page.run("[...document.querySelectorAll('#facts dd')].map(one => one.textContent)")[0] == chip
    page.key("Escape")
    assert page.run("document.getElementById('chip').hidden") and not page.run("document.getElementById('runs').hidden")
    again = opened(page, page.run("location.href"))
    again.wait("document.querySelectorAll('#losses .chart').length === 4")
    again.key("Escape")
    assert again.run("document.getElementById('runs').hidden")
    assert page.complaints == []


def test_a_training_run_by_the_keyboard(page: Page) -> None:
    page.run("document.getElementById('open-runs').focus()")
    page.key("Enter")
    page.wait("document.getElementById('picture-said').textContent === 'step 100, picture 2 of 2'")
    page.run("document.getElementById('picture-step').focus()")
    page.key("ArrowLeft")
    page.wait("document.getElementById('picture-said').textContent === 'step 50, picture 1 of 2'")
    page.run("document.querySelectorAll('#drawn button')[1].focus()")
    page.key("Enter")
    wait_for_values(page)
    page.key("Escape")
    assert page.run("document.activeElement === document.querySelectorAll('#drawn button')[1]")
    page.key("Escape")
    assert page.run("document.getElementById('runs').hidden && document.activeElement.id") == "open-runs"


def test_a_run_at_work_is_followed(browser: Page, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "followed", count=8, size_px=16)
    log = next((make_run(corpus, "first", steps=10) / "tensorboard").iterdir())
    browser.size(1400, 900)
    with served(application(corpus)) as address:
        page = opened(browser, address)
        page.click("#open-runs")
        page.wait("document.getElementById('run-state').textContent.startsWith('Step 10 of 100')")
        with log.open("ab") as file:
            file.write(record(event(11, {"loss": 1.0})))
        page.wait("document.getElementById('run-state').textContent.startsWith('Step 11 of 100')")


def test_chips_that_are_flagged_are_found(browser: Page, flagged: Corpus) -> None:
    browser.size(1400, 900)
    with served(application(flagged)) as address:
        page = opened(browser, address)
        choose(page, "flag:partial:sentinel1", "ascending")
        assert rows_shown(page) == list(range(0, CHIPS, 2))
        page.run("(() => { const one = document.getElementById('colour'); one.value = 'flags';"
                 " one.dispatchEvent(new Event('change')); })()")  # fmt: skip
        page.wait("document.getElementById('legend').textContent.includes('sentinel1')")
        page.click("#rows button")
        page.wait("!document.getElementById('chip').hidden")
        assert "sentinel1: scene in part (ascending)" in page.run("document.getElementById('facts').textContent")


def test_clusters_colour_the_map_and_are_a_filter(browser: Page, sensors: Corpus, vectors: Path) -> None:
    from training.evaluate.search.clusters import clusters

    likeness = Likeness.open(vectors, sensors, 3)
    own = clusters(likeness.search.matrix(), 3)
    browser.size(1400, 900)
    with served(application(sensors, Beside(vectors, 3))) as address:
        page = opened(browser, f"{address}#{quote(json.dumps({'colour': 'cluster'}))}")
        legend = page.run("[...document.querySelectorAll('#legend li')].map(one => one.textContent)")
        assert legend == ["cluster 1", "cluster 2", "cluster 3"]
        choose(page, "cluster", "cluster 2")
        assert rows_shown(page) == likeness.search.store.rows[own == 1].tolist()
        counts = page.run("[...document.querySelectorAll('[id=\"filter-cluster\"] b')].map(one => one.textContent)")
        assert counts == [str(count) for count in np.bincount(own)]


def test_a_damaged_shard_is_said_in_its_layer_and_the_others_show(browser: Page, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "damaged", count=8, size_px=16)
    path = corpus.object_path("relief", corpus.shards[0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    browser.size(1400, 900)
    with served(application(corpus)) as address:
        page = opened(browser, address)
        page.click("#rows button")
        wait_for_values(page)
        page.wait(
            "[...document.querySelectorAll('figure.absent')].some(one =>"
            " one.querySelector('b').textContent === 'relief' && one.textContent.includes('verify'))"
        )
        page.wait("document.querySelector('[data-layer=photo] .picture > canvas').width > 0")
        assert said_of(page, "photo")


def test_the_report_and_the_explorer_lead_to_each_other(browser: Page, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "told", count=8, size_px=16)
    write_report(corpus.folder)
    browser.size(1400, 900)
    with served(application(corpus)) as address:
        page = opened(browser, address)
        page.click("#report")
        page.wait("location.pathname === '/report.html' && document.querySelector('article.chip') !== null")
        chip = page.run("document.querySelector('article.chip header code').textContent")
        page.run("document.querySelector('article.chip header a').focus()")  # the page scrolls there slowly
        page.key("Enter")
        page.wait(f"location.pathname === '/index.html' && {READY}")
        page.wait("!document.getElementById('chip').hidden")
        assert page.run("document.querySelector('#facts dd').textContent") == chip
        assert page.complaints == []


def test_the_rows_saved_are_the_selection(page: Page, corpus: Corpus) -> None:
    choose(page, "split", "val")
    page.click("#command")
    page.wait("document.getElementById('line').textContent !== ''")
    line = page.run("document.getElementById('line').textContent")
    rows = [row for part in line.split("--rows ")[1].split(",") for row in _of(part)]
    assert rows == corpus.manifest.rows_of("val").tolist() and str(corpus.folder) in line


def _of(part: str) -> list[int]:
    first, colon, last = part.partition(":")
    return list(range(int(first), int(last))) if colon else [int(first)]


def pixels_of(page: Page, selector: str) -> np.ndarray:
    """Red, green and blue (y, x, 3) uint8 of a canvas."""
    values = page.run(
        f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
        " return [one.height, one.width, ...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]; })()"
    )
    return np.array(values[2:], np.uint8).reshape(values[0], values[1], 4)[..., :3]


def test_all_pictures_are_those_of_the_report(page: Page, corpus: Corpus) -> None:
    row = next(row for row in range(1, 8) if row not in next(corpus.findings("echo")).missing)
    page.run(f"explorer.openChip({row})")
    drawn = 0
    for name, layer in corpus.modalities.items():
        if layer.extent == "pixel":
            pictures = draw_all(layer, corpus.read(name, slice(row, row + 1))[0])
            numbered = f"[...document.querySelectorAll('[data-layer={name}] canvas')].forEach"
            page.run(f"{numbered}((one, at) => {{ one.id = `{name}${{at}}`; }})")
            for at, (_, picture) in enumerate(pictures):
                np.testing.assert_array_equal(pixels_of(page, f"#{name}{at}"), picture)
            drawn += len(pictures)
    assert drawn == page.run("document.querySelectorAll('#pictures canvas').length") == 6


def test_bands_and_stretch_are_drawn_anew(page: Page, corpus: Corpus) -> None:
    page.run("explorer.openChip(1)")
    wait_for_values(page)
    before = pixels_of(page, "[data-layer=photo] canvas")
    page.click("[data-layer=photo] .tools summary")
    page.run(
        "(() => { const select = document.querySelector('[data-layer=photo] select');"
        " select.value = 'infrared'; select.dispatchEvent(new Event('change')); })()"
    )
    after = pixels_of(page, "[data-layer=photo] canvas")
    infrared = corpus.modality("photo").physical(corpus.read("photo", slice(1, 2)))[0, 3]
    known = np.isfinite(infrared)
    assert np.corrcoef(infrared[known], after[..., 0][known])[0, 1] > 0.98 and np.ptp(after[..., 0]) > 200
    assert not np.array_equal(before[..., 0], after[..., 0])
    page.click("#blend summary")
    names = page.run("['below-layer', 'above-layer'].map((id) => document.getElementById(id).value)")
    for picture, name in zip(("below", "above"), names, strict=True):
        drawn = draw_all(corpus.modality(name), corpus.read(name, slice(1, 2))[0])[0][1]
        page.wait(f"document.getElementById('{picture}-picture').width === {len(drawn)}")
        np.testing.assert_array_equal(pixels_of(page, f"#{picture}-picture"), drawn)


def test_a_click_on_a_point_opens_its_chip(page: Page, corpus: Corpus) -> None:
    """The index of points is made beside the first picture of the map, and finds them afterwards."""
    page.run("explorer.map.indexed")
    lonlat = np.column_stack([corpus.manifest.column("lon"), corpus.manifest.column("lat")])
    apart = np.linalg.norm(lonlat[:, None] - lonlat[None], axis=-1) + np.eye(len(lonlat)) * 1e9
    row = int(np.argmax(apart.min(axis=1)))
    left, top, x, y = page.run(
        "(() => { const box = document.getElementById('map').getBoundingClientRect(); const map = explorer.map;"
        f" return [box.x, box.y, map.x(map.xs[{row}]), map.y(map.ys[{row}])]; }})()"
    )
    page.mouse("mouseMoved", left + x + 2, top + y)
    page.mouse("mouseMoved", left + x, top + y)
    page.mouse("mousePressed", left + x, top + y, 1)
    page.mouse("mouseReleased", left + x, top + y)
    page.wait("!document.getElementById('chip').hidden")
    assert page.run("explorer.choice.chip") == row


def test_a_chip_is_one_request_and_the_next_one_is_there_already(page: Page) -> None:
    def asked(row: int) -> int:
        return sum(f"/chips/{row}/" in url for url in page.requested)

    page.run("explorer.openChip(5)")
    page.wait("explorer.chips.fetchedAhead.size === 2")
    assert asked(5) == asked(4) == asked(6) == 1
    page.run("Promise.all(explorer.chips.fetchedAhead.values())")
    page.forget()
    page.run("explorer.openChip(6)")
    page.run("Promise.all(explorer.chips.fetchedAhead.values())")
    assert asked(6) == 0 and asked(7) == 1
    assert page.run("document.getElementById('chip-place').textContent").startswith("7 of")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width_px", [400, 1400])
def test_it_fits_and_its_texts_can_be_read(browser: Page, address: str, width_px: int, dark: bool) -> None:
    browser.size(width_px, 900, dark)
    page = opened(browser, address)
    page.run("explorer.openChip(1)")
    wait_for_values(page)
    assert page.run("document.documentElement.scrollWidth") <= width_px
    assert page.run("document.getElementById('chip').scrollWidth - document.getElementById('chip').clientWidth") <= 0
    assert page.run(CONTRASTS) >= 4.5
    page.run("explorer.panel.close()")
    page.run("explorer.runs.open('first <i>try')")
    page.wait("document.querySelectorAll('#losses .chart').length === 4")
    assert page.run("document.getElementById('runs').scrollWidth - document.getElementById('runs').clientWidth") <= 0
    assert page.run(CONTRASTS) >= 4.5


# The smallest contrast of a text with what is behind it (WCAG 2.1, relative luminance).
CONTRASTS = """
(() => {
  const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const channels = (colour) => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => rgb.slice(0, 3).map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const texts = [...document.querySelectorAll('body *')].filter(one => one.checkVisibility() && !one.disabled &&
    [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  const hints = [...document.querySelectorAll('input[placeholder]')].filter(one => one.checkVisibility());
  const contrast = (colour, one) => {
    const [a, b] = [light(channels(colour)), light(behind(one))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  return Math.min(...texts.map(one => contrast(getComputedStyle(one).color, one)),
    ...hints.map(one => contrast(getComputedStyle(one, '::placeholder').color, one)));
})()
"""


def test_names_are_data_and_nothing_is_asked_of_others(page: Page, address: str) -> None:
    """The corpus has a title with markup in it, and a biome with an ampersand."""
    page.run("explorer.openChip(1)")
    wait_for_values(page)
    assert page.run("document.querySelector('image') === null")
    assert page.requested and all(
        url.startswith(address) or url.startswith(("data:", "blob:")) for url in page.requested
    )


def test_a_static_export_is_the_same_page(browser: Page, corpus: Corpus, tmp_path: Path) -> None:
    export(corpus.folder, tmp_path / "site", 3, Silent())
    handler: Any = partial(_Quiet, directory=tmp_path / "site")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.size(1400, 900)
        page = opened(browser, f"http://127.0.0.1:{server.server_address[1]}/")
        row = json.loads((tmp_path / "site/data/corpus.json").read_text())["exported"][0]
        page.run(f"explorer.openChip({row})")
        wait_for_values(page)
        assert page.run("document.getElementById('search').hidden")
        assert page.complaints == []
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""
