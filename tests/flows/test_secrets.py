"""Credentials never reach a log, a message, or a file of the corpus."""

from __future__ import annotations

import logging
from pathlib import Path

import ee
import pytest
from google.oauth2.credentials import Credentials

from exporters.earth_engine.client import Connection, connect
from flows import stages
from flows.settings import load
from pipeline.errors import GeocorpusError
from pipeline.progress import Silent
from sandbox.planet import Planet
from sandbox.service.faults import Fault
from sandbox.service.server import Sandbox

SECRET = "ya29.s3cr3t-t0k3n"  # noqa: S105 - made up, to be looked for


@pytest.mark.slow
def test_no_file_and_no_log_holds_the_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with Sandbox(Planet(0)) as sandbox:
        settings = load("demo", [
            f"corpus.folder={tmp_path / 'corpus'}", f"source.url={sandbox.url}", "sampling.locations=3",
            "corpus.size_px=16", "corpus.modalities=['sentinel2', 'era5']",
        ])  # fmt: skip
        engine = connect(Connection("demo", sandbox.url, Credentials(token=SECRET), concurrency=2))
        assert SECRET not in repr(engine.connection)
        stages.sample(settings, engine, Silent())
        stages.anchor(settings, engine, Silent())
        stages.export(settings, engine, Silent())
        stages.finalize(settings, Silent())
        sandbox.faults(Fault("missing", rate=1.0))
        with pytest.raises(GeocorpusError) as failed:
            engine.value(ee.Image("USGS/SRTMGL1_003").bandNames())
    assert SECRET not in str(failed.value)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    said = capfd.readouterr()
    assert SECRET not in caplog.text + said.out + said.err
