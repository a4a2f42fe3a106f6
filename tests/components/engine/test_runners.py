"""Engines by name, and their options as Beam declares them."""

from __future__ import annotations

from typing import Any

import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PortableOptions,
    StandardOptions,
    WorkerOptions,
)

from quatrain.components.engine import runners
from quatrain.components.errors import RunnerError


@pytest.mark.parametrize(
    ("runner", "sentence"),
    [
        ("dask", "it loses rows and reports success"),
        ("DaskRunner", "it loses rows and reports success"),
        ("apache_beam.runners.dask.dask_runner.DaskRunner", "it loses rows"),
        ("DirectRunner", "it tries to download another runner first"),
        ("flnk", "unknown runner 'flnk'; did you mean 'flink'?"),
        ("ray", "unknown runner 'ray'; choose one of local, dataflow, flink, spark, portable"),
    ],
)
def test_an_engine_that_loses_rows_or_is_unknown_is_refused_by_name(
    runner: str, sentence: str
) -> None:
    with pytest.raises(RunnerError) as caught:
        runners.engine_of(runner)
    assert sentence in str(caught.value)


def test_any_other_runner_of_beam_is_taken_by_its_name() -> None:
    assert runners.engine_of("PrismRunner") == runners.Engine("PrismRunner", remote=True)
    assert runners.engine_of("FlinkRunner") == runners.ENGINES["flink"]


def test_options_have_the_types_that_beam_declares() -> None:
    chosen = {
        "flink_master": "localhost:8081",
        "parallelism": "4",
        "environment_type": "LOOPBACK",
        "max_parallelism": 8.0,  # KFP has no whole numbers
    }
    options = runners.read_options("flink", chosen)
    assert options.view_as(StandardOptions).runner == "FlinkRunner"
    flink = options.view_as(FlinkRunnerOptions)
    assert (flink.parallelism, flink.max_parallelism) == (4, 8)
    assert options.view_as(PortableOptions).environment_type == "LOOPBACK"


def test_spark_is_reached_by_its_job_server() -> None:
    options = runners.read_options("spark", {"job_endpoint": "spark:8099"})
    assert options.view_as(StandardOptions).runner == "SparkRunner"
    assert options.view_as(PortableOptions).job_endpoint == "spark:8099"


def test_a_list_repeats_an_option_and_a_switch_takes_true() -> None:
    chosen = {"labels": ["a=b", "c=d"], "no_use_public_ips": True, "max_num_workers": "7"}
    options = runners.read_options("flink", chosen)
    assert options.view_as(GoogleCloudOptions).labels == ["a=b", "c=d"]
    worker = options.view_as(WorkerOptions)
    assert (worker.use_public_ips, worker.max_num_workers) == (False, 7)


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"parallelizm": 1}, "'parallelizm' is none of Beam's; did you mean 'parallelism'?"),
        ({"parallelism": "many"}, "runner option parallelism='many': .*invalid int value"),
        ({"no_use_public_ips": "no"}, "it is a switch; write true, or leave it out"),
    ],
)
def test_a_wrong_option_is_a_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RunnerError, match=sentence):
        runners.check_options("flink", chosen)


def test_an_engine_without_an_option_that_it_needs_is_refused() -> None:
    with pytest.raises(RunnerError, match=r"'portable' needs job_endpoint; give --runner-option"):
        runners.read_options("portable", {})


def test_two_local_workers_are_two_processes() -> None:
    options = runners.read_options("local", {"direct_num_workers": 2})
    direct = options.view_as(DirectOptions)
    assert (direct.direct_num_workers, direct.direct_running_mode) == (2, "multi_processing")
    assert runners.n_workers("local", {"direct_num_workers": 2}) == 2
    assert runners.n_workers("local", {}) == 1
    pool = {"environment_type": "EXTERNAL", "environment_config": "localhost:1"}
    assert runners.n_workers("local", pool) is None
    assert runners.n_workers("flink", {}) is None
