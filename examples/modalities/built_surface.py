"""GHSL built-up surface (P2023A): square metres built in the 100 m cell under each pixel, at the nearest epoch."""

import ee

from geocorpus import Band, Chip, Display, Licence, Modality, Pixels, with_fallback

COLLECTION = "JRC/GHSL/P2023A/GHS_BUILT_S"
BANDS = ["built_surface", "built_surface_nres"]
_EPOCH_YEARS = 5


def _at_the_epoch(chip: Chip) -> ee.Image:
    epoch = _EPOCH_YEARS * round(chip.acquisition.date.year / _EPOCH_YEARS)
    return with_fallback(ee.Image(f"{COLLECTION}/{epoch}"), BANDS)


built_surface = Modality(
    name="built_surface",
    title="GHSL built-up surface",
    bands=(Band("built_surface", "m2", "of a 100 m cell"), Band("built_surface_nres", "m2", "non-residential part")),
    dtype="uint16",
    nodata=65535,
    valid_range=(0, 10000),
    time_rule="the epoch (every five years) nearest to the anchor's year",
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/JRC_GHSL_P2023A_GHS_BUILT_S",
    licence=Licence(
        "CC-BY-4.0",
        "https://creativecommons.org/licenses/by/4.0/",
        "Pesaresi, M., Politis, P. (2023): GHS-BUILT-S R2023A. European Commission, Joint Research Centre (JRC).",
    ),
    display=Display("grey", ("built_surface",), 0.0, 8000.0),
    source=Pixels(_at_the_epoch),
)
