"""The limits of one request, each with the service's text, and none of them at a kind service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import Any

import ee
import pytest
import requests

from sandbox.limits import EARTH_ENGINE, KIND, Limits
from sandbox.service.server import Sandbox
from tests.sandbox import world


def compute(sandbox: Sandbox, value: object) -> requests.Response:
    body = {"expression": {"result": "0", "values": {"0": {"constantValue": value}}}}
    return requests.post(f"{sandbox.url}/v1/projects/demo/value:compute", json=body, timeout=10)


def refusal(limits: Limits, value: object) -> str:
    """The text with which a service of these limits refuses to compute a constant; empty where it computes it."""
    with Sandbox(world.catalog(), limits=limits) as sandbox:
        reply = compute(sandbox, value)
    return "" if reply.status_code == 200 else reply.json()["error"]["message"]


def test_a_request_may_not_be_larger_than_its_limit() -> None:
    limits = replace(KIND, request_bytes=1000)
    assert refusal(limits, "a" * 1000) == "Request payload size exceeds the limit: 1000 bytes."
    assert refusal(KIND, "a" * 1000) == ""


def test_a_result_may_not_be_larger_than_its_limit() -> None:
    assert refusal(replace(KIND, result_bytes=1000), "a" * 1000) == "Response size exceeds limit."
    assert refusal(replace(KIND, result_bytes=2000), "a" * 1000) == ""


def test_a_computation_may_not_take_longer_than_its_limit() -> None:
    assert refusal(replace(KIND, compute_s=0.0), 1) == "Computation timed out."
    assert refusal(replace(KIND, compute_s=300.0), 1) == ""


@pytest.mark.parametrize("listed", [lambda many: many, lambda many: many.toList(30), lambda many: many.max()])
def test_a_collection_may_not_accumulate_more_elements_than_its_limit(listed: Callable[..., Any]) -> None:
    with Sandbox(world.catalog(), limits=replace(KIND, elements=20)) as sandbox:
        world.connect(sandbox)
        many = ee.ImageCollection([ee.Image(number) for number in range(21)])
        with pytest.raises(ee.EEException, match="aborted after accumulating over 20 elements"):
            listed(many).getInfo()
        listed(many.limit(20)).getInfo()


def test_earth_engine_has_every_limit_and_a_kind_service_none() -> None:
    assert all(value is None for value in vars(KIND).values())
    assert all(value is not None for value in vars(EARTH_ENGINE).values())
    assert signature(Sandbox).parameters["limits"].default is EARTH_ENGINE
