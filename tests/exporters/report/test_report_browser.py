"""A real browser opens the report: it renders, every picture decodes, nothing complains, nothing leaves the page."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.browser import CHROMIUM, browsing
from exporters.report.report import write_report
from tests.exporters.report_corpus import add_neighbours, make_corpus

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-dev-shm-usage", "--enable-logging=stderr", "--virtual-time-budget=10000",
)  # fmt: skip
# Runs after the page has loaded and writes what it saw into the title, which the dumped document shows.
PROBE = """
<script>
function decodes(image) {
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
  canvas.drawImage(image, 0, 0, 1, 1);
  return image.complete && image.naturalWidth > 0 && canvas.getImageData(0, 0, 1, 1).data[3] === 255;
}
window.addEventListener('load', () => {
  const images = [...document.images];
  const seen = {
    images: images.length,
    broken: images.filter(image => !decodes(image)).length,
    flat: [...document.querySelectorAll('section, svg')].filter(one => one.getBoundingClientRect().height < 10).length,
    wide: document.documentElement.scrollWidth - window.innerWidth,
    cut: [...document.querySelectorAll('nav a, th, td, code, dd')].filter(one => one.closest('details') === null
      && one.getBoundingClientRect().right > window.innerWidth && !one.closest('.unseen, thead')).length,
    touching: [...document.querySelectorAll('.panel + .panel')].filter(one => Math.abs(
      one.getBoundingClientRect().top - one.previousElementSibling.getBoundingClientRect().bottom) < 8).length,
    requests: performance.getEntriesByType('resource').map(one => one.name).filter(name => !name.startsWith('data:')),
  };
  document.title = 'SEEN' + JSON.stringify(seen) + 'END';
});
</script>
"""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed, so no browser can open the report"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    corpus = make_corpus(tmp_path_factory.mktemp("browser") / "taster", unfinished=1)
    add_neighbours(corpus.folder)
    return write_report(corpus.folder)


def opened(page: Path, profile: Path, width_px: int) -> tuple[str, str]:
    """The document after loading, and what the browser logged."""
    command = [CHROMIUM or "", *FLAGS, f"--user-data-dir={profile}", f"--window-size={width_px},2000", "--dump-dom"]
    done = subprocess.run(
        [*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True,
        env=os.environ | {"HOME": str(profile)},
    )  # fmt: skip
    return done.stdout, done.stderr


def test_the_page_as_written_renders_without_complaint(page: Path, tmp_path: Path) -> None:
    document, log = opened(page, tmp_path, 1400)
    for section in ("where", "when", "coverage", "rejected", "values", "chips"):
        assert f'<section id="{section}"' in document
    assert document.count("<article") == 20
    assert "CONSOLE" not in log, log


@pytest.mark.parametrize("width_px", [1400, 400])
def test_pictures_decode_and_nothing_is_fetched(page: Path, tmp_path: Path, width_px: int) -> None:
    """The probe needs a script, which the page's own policy forbids, so it looks at a copy without the policy."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    copy = tmp_path / "probed.html"
    copy.write_text(text.replace("</body>", f"{PROBE}</body>"))
    document, _ = opened(copy, tmp_path / "profile", width_px)
    result = re.search(r"<title>SEEN(.*)END</title>", document)
    assert result, "the page did not finish loading"
    seen = json.loads(result.group(1))
    assert seen["images"] > 50 and seen["broken"] == 0
    assert seen["flat"] == 0 and seen["requests"] == [] and seen["wide"] <= 0
    assert seen["cut"] == 0 and seen["touching"] == 0


# The smallest contrast of a text with what is behind it (WCAG 2.1), values that break into lines, and scenes without
# the word before them on their line.
READ = """
(() => {
  const channels = colour => { const found = colour.match(/[0-9.]+/g).map(Number); return [...found, 1].slice(0, 4); };
  const light = rgb => rgb.slice(0, 3).map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = one => {
    for (let at = one.closest('svg')?.parentElement ?? one; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const texts = [...document.querySelectorAll('body *')].filter(one => one.checkVisibility() &&
    [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  const contrast = one => {
    const style = getComputedStyle(one), own = channels(one.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(own), light(behind(one))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const lines = one => one.getBoundingClientRect().height / parseFloat(getComputedStyle(one).lineHeight);
  return {
    texts: texts.length, contrast: Math.min(...texts.map(contrast)),
    broken: [...document.querySelectorAll('.value > span:last-child')].filter(one => lines(one) > 1.5).length,
    parted: [...document.querySelectorAll('.scenes span')].filter(one => !one.firstChild.data.trim()
      || Math.abs(one.getBoundingClientRect().left - one.parentElement.getBoundingClientRect().left) > 1).length,
    scenes: document.querySelectorAll('.scenes span').length,
  };
})()
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width_px", [1400, 400])
def test_its_texts_can_be_read(page: Path, tmp_path: Path, width_px: int, dark: bool) -> None:
    with browsing(tmp_path / "profile") as tab:
        tab.size(width_px, 900, dark)
        tab.open(page.as_uri())
        tab.wait("document.readyState === 'complete' && document.title.includes('report')")
        seen = tab.run(READ)
    assert seen["texts"] > 500 and seen["contrast"] >= 4.5
    assert seen["scenes"] > 10 and seen["parted"] == seen["broken"] == 0
