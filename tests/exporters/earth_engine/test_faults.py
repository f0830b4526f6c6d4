"""What Earth Engine says, and what the caller is to do."""

from __future__ import annotations

import pytest

from exporters.earth_engine import faults
from exporters.earth_engine.sign_in import SignIn
from pipeline.errors import Missing, Throttled, TooLarge, Transient

TEXTS = [
    ("Too Many Requests: Request was rejected because the request rate was exceeded.", Throttled),
    ("Quota exceeded for quota metric 'Number of read requests' and limit '6000 per minute per user'", Throttled),
    ("Too many concurrent aggregations.", TooLarge),
    ("Quota exceeded: Too many concurrent aggregations.", TooLarge),
    ("User memory limit exceeded.", TooLarge),
    ("Computation timed out.", faults.Overloaded),
    ("Total request size (58982400 bytes) must be less than or equal to 50331648 bytes.", TooLarge),
    ("Number of bands in the expression exceeds 1024.", TooLarge),
    ("Image.select: Pattern 'MSK_CLDPRB' did not match any bands. Available bands: [B1, B2]", Missing),
    ("Image.select: Band pattern 'label' was applied to an Image with no bands.", Missing),
    ("Image.bandNames: Parameter 'image' is required and may not be null.", Missing),
    ("Image.load: Image asset 'A/B' not found (does not exist or caller does not have access).", faults.AssetGone),
    ("An internal error has occurred.", Transient),
    ("Dictionary.get: something nobody has seen", faults.UnknownRefusal),
    ("Not signed up for Earth Engine or project is not registered.", faults.Unauthorised),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), TEXTS)
def test_a_text_names_its_kind(text, kind):
    error = faults.from_text(text)
    assert type(error) is kind
    assert text.rstrip(".")[:40] in str(error)


def test_a_lost_asset_is_named():
    assert faults.from_text(TEXTS[11][0]).asset_id == "A/B"


@pytest.mark.parametrize(
    ("status", "kind"), [(429, Throttled), (500, Transient), (503, Transient), (408, Transient), (413, TooLarge)]
)
def test_the_status_decides_where_it_can(status, kind):
    assert type(faults.from_response(status, "no explanation")) is kind


@pytest.mark.parametrize("status", [400, 429, 500])
def test_too_many_aggregations_divide_the_request_whatever_the_status(status):
    assert type(faults.from_response(status, "Too many concurrent aggregations.")) is TooLarge


def test_what_the_server_asks_for_is_kept():
    assert faults.from_response(429, "slow down", 7.0).retry_after_s == 7.0


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_say_what_to_run(status):
    error = faults.from_response(status, "Permission denied.")
    assert isinstance(error, faults.Unauthorised)
    assert "earthengine authenticate" in str(SignIn(None).refusal(str(error)))


def test_a_quota_behind_a_403_is_no_matter_of_credentials():
    assert isinstance(faults.from_response(403, "Quota exceeded for quota metric 'x'"), Throttled)
