"""The private parts of Beam that the engines use."""

from __future__ import annotations

import sys

import pytest
from apache_beam.options import pipeline_options
from apache_beam.runners.worker import sdk_worker_main

from quatrain.components.engine import beam_seam


def test_the_seams_are_those_of_the_installed_beam() -> None:
    assert beam_seam.problems() == []


def test_another_version_or_a_missing_name_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.78.0")
    monkeypatch.delattr(pipeline_options, "_BeamArgumentParser")
    monkeypatch.delattr(sdk_worker_main, "main")
    monkeypatch.setitem(sys.modules, "apache_beam.runners.worker.data_plane", None)  # is gone
    assert beam_seam.problems() == [
        f"the seams of the engines were read from Beam 2.77, but {text}: read that part of Beam "
        f"again and mend components/engine"
        for text in (
            "apache-beam is 2.78.0",
            "apache_beam.options.pipeline_options._BeamArgumentParser is gone",
            "apache_beam.runners.worker.sdk_worker_main.main is gone",
            "apache_beam.runners.worker.data_plane no longer says 'Channel closed prematurely'",
        )
    ]
