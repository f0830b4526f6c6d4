"""The report says what is in the corpus, whole or partly built, in equal bytes for equal corpora and safe HTML."""

import json
import re
import shlex
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyproj
import pytest

from exporters.quality.quality import Quality
from exporters.report import quality as report_quality
from exporters.report.charts import columns, histograms, short
from exporters.report.chips import cards, choose_rows, place
from exporters.report.facts import Count, coverage, ecoregions_of_rejected, per_biome, per_month, per_year, rejected
from exporters.report.map import colour_of, on_page
from exporters.report.report import breakable, linked, percent, render, size_text, write_report
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.layer_cost import LAYER_COSTS, LayerCost, write_layer_costs
from pipeline.modality import Band
from pipeline.statistics import BandStatistics, merge, summarise
from tests.exporters.report_corpus import COVER, ECHO, LAYERS, PHOTO, PLAIN, REASON, RELIEF, add_neighbours, make_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    made = make_corpus(tmp_path_factory.mktemp("report") / "taster")
    add_neighbours(made.folder)
    return made


@pytest.fixture(scope="module")
def page(corpus: Corpus) -> str:
    return write_report(corpus.folder, chips=12).read_text()


class Balance(HTMLParser):
    """Collects tags that are not closed in order, and every address that the page refers to."""

    VOID = ("meta", "link", "img", "br", "hr", "input", "wbr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.addresses: list[str] = []
        self.images = 0
        self.described = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [values[name] or "" for name in ("src", "href") if name in values]
        self.images += tag == "img"
        self.described += tag == "img" and bool(values.get("alt"))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def read(page: str) -> Balance:
    parsed = Balance()
    parsed.feed(page)
    return parsed


def test_the_page_is_whole_and_needs_nothing_else(page: str) -> None:
    parsed = read(page)
    assert not parsed.wrong and not parsed.open
    assert parsed.images >= 40 and parsed.described == parsed.images
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses)
    assert "http://" not in page and "https://" not in page and "<script" not in page and "url(" not in page


def test_every_section_link_has_its_target(page: str) -> None:
    for name in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{name}"' in page


def test_names_from_the_corpus_are_escaped(page: str) -> None:
    assert "True colour &lt;image&gt; &amp; more" in page and "<image>" not in page
    assert "no ascending pass within 30 days &lt;of the anchor&gt;" in page and "&lt;ocean&gt;" in page


def test_every_modality_reason_and_biome_is_told(page: str, corpus: Corpus) -> None:
    for modality in LAYERS:
        assert f'<th scope="row">{modality.name}<small>' in page
    for count in per_biome(corpus.manifest):
        assert count.label in page
    assert corpus.manifest.digest in page and "Partly built" not in page
    assert "3 candidates were passed over" in page


def test_equal_corpora_give_equal_bytes(tmp_path: Path) -> None:
    pages = []
    for place_of_it in ("here", "there"):
        made = make_corpus(tmp_path / place_of_it / "taster", count=8, size_px=16)
        add_neighbours(made.folder)
        pages.append(write_report(made.folder, chips=4).read_bytes())
    assert pages[0] == pages[1] == write_report(tmp_path / "here" / "taster", chips=4).read_bytes()


def test_a_partly_built_corpus_says_so(tmp_path: Path) -> None:
    partly = make_corpus(tmp_path / "c", count=10, size_px=16, unfinished=1)
    text = write_report(partly.folder, chips=20).read_text()
    assert "Partly built" in text and "echo: 1 of 2 shards" in text and "not exported yet" in text
    assert "12 / 14" in text and "No table of rejected candidates" in text
    assert not read(text).wrong


def test_points_of_which_no_region_is_known(tmp_path: Path) -> None:
    made = make_corpus(tmp_path / "c", count=3, size_px=16, biomes=0)
    text = write_report(made.folder).read_text()
    assert '<th scope="row">not known</th>' in text and made.manifest[0].location.id in text
    assert text.count("<article") == 3 and not read(text).wrong


def test_an_empty_corpus_has_a_report_too(tmp_path: Path) -> None:
    empty = make_corpus(tmp_path / "made", count=3, size_px=16)
    for modality in LAYERS:
        for shard in empty.shards:
            empty.ledger.path(modality.name, shard.index).unlink()
    text = write_report(empty.folder).read_text()
    assert "No shard is finished yet" in text and "0 / 7" in text and not read(text).wrong


def test_no_corpus_no_report(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="no corpus"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_damaged_neighbours_are_named(tmp_path: Path) -> None:
    made = make_corpus(tmp_path / "c", count=3, size_px=16)
    (made.folder / "regions.parquet").write_text("no table")
    with pytest.raises(Fatal, match="regions.parquet cannot be read"):
        write_report(made.folder)
    (made.folder / "regions.parquet").unlink()
    (made.folder / "rejected.json").write_text(json.dumps([{"where": "here"}]))
    with pytest.raises(Fatal, match="rejected.json lacks the columns stratum, reason"):
        write_report(made.folder)


def test_what_layers_cost_is_told_where_a_pilot_kept_it(tmp_path: Path) -> None:
    made = make_corpus(tmp_path / "c", count=3, size_px=16)
    assert "Costs per modality" not in write_report(made.folder).read_text()
    write_layer_costs(made.folder, [LayerCost("cheap", None, 0.5, 2_000, 300, share=1.0)])
    write_layer_costs(made.folder, [LayerCost("dear", 0.25, 1.5, 17_000, 3_000, share=1.0)])  # by a later run
    page = write_report(made.folder).read_text()
    assert all(cell in page for cell in ("dear", "0.25", "75 %", "25 %", "17 kB", "cheap", "300 B"))
    assert page.index("dear") < page.index("cheap")
    (made.folder / LAYER_COSTS).write_text("none")
    with pytest.raises(Fatal, match="layer-costs.json is damaged"):
        write_report(made.folder)


def test_rejected_candidates_from_json_or_none(tmp_path: Path) -> None:
    assert rejected(tmp_path) is None
    (tmp_path / "rejected.json").write_text(json.dumps([{"location": "a", "stratum": "s", "reason": "ocean"}]))
    result = rejected(tmp_path)
    assert result == {("s", "ocean"): 1}
    for step in ("001", "002"):  # a corpus that has grown twice
        (tmp_path / "extensions" / step).mkdir(parents=True)
        table = pd.DataFrame({"stratum": ["s", step], "reason": ["ocean", "clouds"]})
        table.to_parquet(tmp_path / "extensions" / step / "rejected.parquet")
    assert rejected(tmp_path) == {("s", "ocean"): 3, ("001", "clouds"): 1, ("002", "clouds"): 1}
    assert ecoregions_of_rejected(tmp_path) == {}


def test_a_stratum_without_a_chip_has_the_name_of_its_ecoregion(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, count=4, biomes=1)
    names = {"eco-777": "Lost taiga", "eco-778": None}
    table = pd.DataFrame({"stratum": [*names], "reason": ["clouds"] * 2, "ecoregion_name": [*names.values()]})
    table.to_parquet(corpus.folder / "rejected.parquet")
    assert ecoregions_of_rejected(corpus.folder) == {"eco-777": "Lost taiga", "eco-778": ""}
    page = write_report(corpus.folder).read_text()
    section = page[page.index('id="rejected"') : page.index('id="values"')]
    assert "Lost taiga" in section and "eco-777" not in section and "eco-778" in section


def test_coverage_counts_rows_values_and_reasons(corpus: Corpus) -> None:
    result = {item.modality.name: item for item in coverage(corpus)}
    lacking = sum(row % 6 == 2 for row in range(len(corpus.manifest)))
    assert result["echo"].reasons == (Count(REASON, lacking),) and result["photo"].reasons == ()
    assert result["echo"].share_with_data == pytest.approx(1 - lacking / 20)
    train = corpus.manifest.rows_of("train")
    stored = corpus.read("echo", slice(0, 20))[train]
    assert result["echo"].valid_share == pytest.approx(float(ECHO.valid(stored).mean()))


def test_reasons_with_dates_add_up_once_there_are_many(corpus: Corpus) -> None:
    photo = next(item for item in coverage(corpus) if item.modality.name == PHOTO.name)
    dated = Counter({f"no pass around 2019-01-{day:02d}": 2 for day in range(1, 9)})
    assert replace(photo, missing=dated).reasons == (Count("no pass around", 16),)


def test_tallies_are_those_of_the_manifest(corpus: Corpus) -> None:
    manifest = corpus.manifest
    times = manifest.frame["anchor_time"]
    assert {c.label: c.count for c in per_year(manifest) if c.count} == {
        str(year): int((times.dt.year == year).sum()) for year in times.dt.year.unique()
    }
    assert [c.count for c in per_month(manifest)] == [int((times.dt.month == m).sum()) for m in range(1, 13)]
    assert sum(c.count for c in per_biome(manifest)) == len(manifest)


def test_the_gallery_spans_biomes_and_is_bounded(corpus: Corpus) -> None:
    biome = corpus.manifest.column("biome")
    assert len({biome[row] for row in choose_rows(corpus, 8)}) == 8
    assert choose_rows(corpus, 5) == choose_rows(corpus, 5) and len(choose_rows(corpus, 5)) == 5
    assert sorted(choose_rows(corpus, 1000)) == list(range(20))


def test_the_map_is_equal_earth() -> None:
    """Extent of the unit sphere as published (2.7066 by 1.3173), and places between as PROJ has them."""
    centre, east, north = on_page(np.array([[0.0, 0.0], [180.0, 0.0], [0.0, 90.0]]))
    assert (east - centre)[0] / (centre - north)[1] == pytest.approx(2.7066299836 / 1.3173627591, rel=1e-4)
    assert centre.tolist() == [500.0, 243.5] and 0 <= east[0] <= 1000 and 0 <= north[1] <= 487
    lonlat = np.array([[0.0, 0.0], [120.0, 45.0], [-75.0, -30.0]])
    x, y = pyproj.Proj("+proj=eqearth +R=1")(*lonlat.T)
    ours = (on_page(lonlat) - centre) / ((east - centre)[0] / 2.7066299836)
    assert np.allclose(ours, np.column_stack([x, -y]), atol=1e-6)


def test_histograms_are_in_physical_units_and_trimmed() -> None:
    counts = np.zeros(64, dtype=int)
    counts[10:30] = 1000
    counts[63] = 1
    item = BandStatistics(20001, 0, 3000.0, 9e9, 1, 20000, tuple(counts.tolist()))
    chart = histograms(PHOTO, {"l1c": [item] * 4, "l2a": [item] * 4})[0]
    assert chart.lines[0].startswith("l1c: 0.3 \u00b1") and "series-b" in chart.svg
    assert "from 0.313 to 0.938" in chart.svg


def test_a_band_is_drawn_over_its_own_range() -> None:
    relief = replace(RELIEF, dtype="float32", bands=(*RELIEF.bands, Band("slope", "degree", valid_range=(0, 90))))
    slopes = np.random.default_rng(1).gamma(2.0, 4.0, (1, 50, 40)).astype("float32")
    heights = np.random.default_rng(2).normal(400, 80, (1, 50, 40)).astype("float32")
    block = np.stack([heights, slopes], axis=1)
    (bands,) = merge([summarise(relief, block, ["all"])]).values()
    height, slope = histograms(relief, {"all": bands})
    found = re.search(r"slope histogram, from ([\d.]+) to ([\d.]+)", slope.svg)
    assert found and float(found[1]) == 0 and np.quantile(slopes, 0.99) <= float(found[2]) <= 90
    assert slope.lines == (f"{slopes.mean():.3g} \u00b1 {slopes.std():.3g} degree",)
    assert "height histogram, from" in height.svg
    assert (
        histograms(
            relief.without_ranges_of_bands(),
            {"all": merge([summarise(relief.without_ranges_of_bands(), block, ["all"])])["all"]},
        )[1].svg
        == ""
    ), "all slopes in one bin of heights"


def test_integer_bins_make_no_comb() -> None:
    counts = np.bincount(np.clip(np.arange(101) * 64 // 100, 0, 63), minlength=64) * 50
    flat = BandStatistics(5050, 0, 50.0, 1.0, 0, 100, tuple(counts.tolist()))
    tops = set(re.findall(r"V([\d.]+)H", histograms(PLAIN, {"all": [flat]})[0].svg))
    assert len(tops) == 1


def test_layers_without_bins_or_values_have_no_chart() -> None:
    assert histograms(PLAIN, {"all": [BandStatistics()]})[0].svg == ""
    assert histograms(PLAIN, {})[0].lines == ()


def test_column_charts_tell_their_numbers() -> None:
    svg = columns([Count("2017", 12), Count("<2018>", 0)], "Chips per year")
    assert "2017: 12" in svg and "&lt;2018&gt;" in svg
    assert [short(n) for n in (0, 9_999, 12_345, 1_234_567)] == ["0", "9999", "12k", "1.2M"]


def test_words_for_numbers() -> None:
    assert [percent(s) for s in (None, 0.0, 1.0, 0.99999, 0.00001, 0.1234)] == [
        "\u2013", "0 %", "100 %", "> 99.9 %", "< 0.1 %", "12.3 %"]  # fmt: skip
    assert [size_text(n) for n in (0, 999, 14_500_000, 597_000_000_000)] == ["0 B", "999 B", "14.5 MB", "597 GB"]
    assert place(-58.8912, -7.8) == "7.800\u00b0 S 58.891\u00b0 W"


def test_unknown_biomes_have_a_colour() -> None:
    assert colour_of(99) == colour_of(0) == colour_of(-1) != colour_of(1)


def test_class_legends_list_only_what_is_shown(corpus: Corpus) -> None:
    text = render(corpus, coverage(corpus), 1)
    legend = text[text.index('class="panel legends"') : text.index("</dl>", text.index('class="panel legends"'))]
    row = choose_rows(corpus, 1)[0]
    shown = set(np.unique(corpus.read("cover", slice(row, row + 1))).tolist())
    for category in COVER.categories:
        assert (category.name in legend) == (category.code in shown)


def test_one_bar_is_told_as_a_range() -> None:
    counts = [0] * 64
    counts[3] = 1000
    chart = histograms(PLAIN, {"all": [BandStatistics(1000, 0, 5.0, 1000.0, 4, 6, tuple(counts))]})[0]
    assert chart.svg == "" and chart.lines == ("5 \u00b1 1, 4 to 6 percent",)


def test_a_band_without_values_says_so_in_place_of_its_picture(corpus: Corpus) -> None:
    row = next(row for row in range(20) if row % 6 == 3)
    tiles = {tile.modality: tile for tile in cards(corpus, coverage(corpus), [row])[0].tiles}
    assert tiles["echo up"].note == "no valid values" and tiles["echo down"].image.startswith("data:image/png")
    lacking = next(row for row in range(20) if row % 6 == 2)
    assert {tile.modality: tile.note for tile in cards(corpus, coverage(corpus), [lacking])[0].tiles}["echo"] == REASON


def test_long_names_may_break_and_stay_escaped() -> None:
    assert breakable("a_<b>") == "a_<wbr>&lt;b&gt;"


def test_quality_has_a_line_per_layer_and_a_square_per_shift(corpus: Corpus, page: str) -> None:
    covered = {item.modality.name: item.quality for item in coverage(corpus)}
    lines = {line.name: line for line in report_quality.lines(list(covered.values()))}
    assert set(lines) == {layer.name for layer in LAYERS}
    assert lines["photo"].complete == 1 - sum(row % 4 == 1 for row in range(20)) / 20
    assert covered["plain"].compared == 20 and not lines["weather"].shifts
    untold = replace(covered["plain"], shifts=Counter())
    assert not report_quality.lines([untold])[0].shifts, "a cross without any square says nothing"
    assert lines["plain"].shifts.count("<title>") == len(covered["plain"].shifts)
    section = page[page.index('id="quality"') : page.index('id="rejected"')]
    assert section.count('<svg class="nodata"') == len(LAYERS)
    assert not re.search(r"<td[^>]*></td>", section), "no cell is empty"
    assert "Look at this" not in section


def test_a_chip_is_named_with_its_id_and_its_scenes(page: str, corpus: Corpus) -> None:
    section = page[page.index('id="chips"') :]
    for chip in (corpus.manifest[row] for row in choose_rows(corpus, 12)):
        assert f"<code>{chip.location.id}</code>" in section
        assert f"anchor <code>{chip.acquisition.anchor.asset_id}</code>" in section


def test_a_chip_says_how_it_is_opened_and_can_be_linked(page: str, corpus: Corpus) -> None:
    rows = [int(row) for row in re.findall("<!--chip ([0-9]+)-->", page)]
    assert len(rows) == len(set(rows)) == page.count("<article")
    for row in rows:
        assert f"<code>geocorpus view . --chip {shlex.quote(corpus.manifest[row].location.id)}</code>" in page
    beside = linked(page, "index.html", lambda row: f"index.html#{row}" if row != rows[0] else "")
    assert re.findall('<a href="index.html#([0-9]+)">', beside) == [str(row) for row in rows[1:]]
    assert '<a href="index.html">Explorer</a>' in beside and "<!--" not in beside
    parsed = read(beside)
    assert not parsed.wrong and not parsed.open


def test_a_shift_is_shown_where_it_is_and_said() -> None:
    quality = Quality(PLAIN)
    quality.add({"chips": 20, "values": 9, "nodata": [20] + [0] * 7, "constant": {"chips": 0, "rows": []}, "outside": 0,
                 "shifts": {"reference": "photo", "compared": 20, "seen": {"-2,3": 12, "-1,3": 3}}})  # fmt: skip
    assert quality.flags() == ["plain lies 2 px north and 3 px east of photo, told by 15 of 20 chips"]
    pattern = r'<rect class="bar" x="(\d+)" y="(\d+)" .*?opacity="([\d.]+)"'
    squares = re.findall(pattern, report_quality.shift_map(quality))
    assert squares == [("49", "14", "1.00"), ("49", "21", "0.44")], "reach 4, 7 units a pixel, north is up"
    bar = re.findall(r'width="([\d.]+)" height="8" opacity="([\d.]+)"', report_quality.nodata_bar(quality))
    assert bar[0] == ("100.00", "1.00") and {width for width, _ in bar[1:]} == {"0.00"}


def test_corpora_from_before_quality_was_looked_at_say_so(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, count=4, biomes=1)
    for path in corpus.ledger.folder.rglob("*.json"):
        data = json.loads(path.read_text())
        del data["quality"], data["text_crc32c"]
        path.write_text(json.dumps(data))
    assert "No layer of this corpus was looked at" in render(corpus, coverage(corpus), 1)
