"""The published classes against RESOLVE's table itself, and against facts of the published lists."""

from __future__ import annotations

import geopandas as gpd

from exporters.formats.mmearth_v001.datasets import BIOME, ECOREGION
from exporters.formats.mmearth_v001.regions import BIOME_CODES, biome_class, ecoregion_class, regions


def test_the_list_is_that_of_the_table_biome_by_biome(shared_data):
    table = gpd.read_file(shared_data / "ecoregions" / "Ecoregions2017.shp", ignore_geometry=True)
    by_biome: dict[int, list] = {}
    for row in table[table["ECO_ID"].astype(int) > 0].itertuples():
        by_biome.setdefault(int(row.BIOME_NUM), []).append((int(row.ECO_ID), row.REALM, row.ECO_NAME))
    assert tuple(by_biome) == BIOME_CODES
    expected = [(code, biome, realm, name) for biome, rows in by_biome.items() for code, realm, name in rows]
    assert [(r.ecoregion, r.biome, r.realm, r.ecoregion_name) for r in regions()] == expected


def test_classes_are_as_published():
    """stats/biome_labels.json and stats/eco_labels.json of MMEarth-data, some of them."""
    assert (biome_class(11), biome_class(1), biome_class(3), biome_class(0)) == (0, 1, 13, None)
    names = {region.ecoregion_name: number for number, region in enumerate(regions())}
    assert (names["Adelie Land tundra"], names["Russian Arctic desert"], names["Marie Byrd Land tundra"]) == (0, 6, 50)
    assert (names["Admiralty Islands lowland rain forests"], names["Catatumbo moist forests"]) == (51, 72)
    assert (len(regions()), len(BIOME_CODES)) == (ECOREGION.classes, BIOME.classes)


def test_a_code_counts_only_under_its_own_name():
    tundra = regions()[0]
    assert ecoregion_class(tundra.ecoregion, tundra.ecoregion_name) == 0
    assert ecoregion_class(tundra.ecoregion, "") == 0
    assert ecoregion_class(tundra.ecoregion, "my own region") is None
    assert ecoregion_class(0, "") is None
    spelt = {region.ecoregion_name: region.ecoregion for region in regions()}
    assert ecoregion_class(spelt["Alto Paraná Atlantic forests"], "Alto Paran\u00c3\u00a1 Atlantic forests") == 53
