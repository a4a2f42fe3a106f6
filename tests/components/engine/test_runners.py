"""Engines by name, and their options as Beam declares them."""

from __future__ import annotations

from typing import Any

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PortableOptions,
    StandardOptions,
    WorkerOptions,
)

from quatrain.components.engine import beam_options, runners
from quatrain.components.errors import RunnerError

NEEDED = {"project": "p", "region": "r", "temp_location": "gs://b/t", "sdk_container_image": "i"}


@pytest.mark.parametrize(
    ("runner", "sentence"),
    [
        ("dask", "it loses rows and reports success"),
        ("DaskRunner", "it loses rows and reports success"),
        ("apache_beam.runners.dask.dask_runner.DaskRunner", "it loses rows"),
        ("DirectRunner", "it tries to download another runner first"),
        ("flnk", "as SamzaRunner is; did you mean 'flink'?"),
        (
            "ray",
            "as SamzaRunner is; choose one of local, prism, portable, dataflow, flink, spark",
        ),
    ],
)
def test_an_engine_that_loses_rows_or_is_unknown_is_refused_by_name(
    runner: str, sentence: str
) -> None:
    with pytest.raises(RunnerError) as caught:
        runners.engine_of(runner)
    assert sentence in str(caught.value)


def test_any_other_runner_of_beam_is_taken_by_its_name() -> None:
    assert runners.engine_of("SamzaRunner") == runners.Engine("SamzaRunner", remote=True)
    assert runners.engine_of("PrismRunner") == runners.ENGINES["prism"]
    assert runners.engine_of("FlinkRunner") == runners.ENGINES["flink"]


def test_options_have_the_types_that_beam_declares() -> None:
    chosen = {
        "job_endpoint": "localhost:8099",
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
    options = runners.read_options("dataflow", chosen, NEEDED)
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


@pytest.mark.parametrize(
    ("runner", "chosen", "sentence"),
    [
        ("portable", {}, "'portable' needs job_endpoint; give --runner-option job_endpoint=..."),
        ("prism", {}, "--runner-option prism_location=FILE, its program on the machine of the"),
        ("prism", {}, "go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2."),
        ("prism", {"prism_location": "https://github.com/p.zip"}, "Quatrain does not download"),
        ("flink", {}, "--runner-option flink_job_server_jar=FILE"),
        ("spark", {"spark_master_url": "spark://m:7077"}, "spark_job_server_jar=FILE"),
        ("SparkRunner", {"spark_job_server_jar": "gs://b/s.jar"}, "does not download"),
    ],
)
def test_an_engine_asks_for_what_it_needs_and_downloads_nothing(
    runner: str, chosen: dict[str, Any], sentence: str
) -> None:
    for check in (runners.check_options, runners.read_options):
        with pytest.raises(RunnerError) as caught:
            check(runner, chosen)
        assert sentence in str(caught.value)


def test_a_program_that_is_not_there_is_refused_by_the_step_alone() -> None:
    chosen = {"flink_job_server_jar": "/opt/flink.jar"}  # it may lie in the image
    runners.check_options("flink", chosen)
    with pytest.raises(RunnerError, match=r"'/opt/flink\.jar' is no file on this machine"):
        runners.read_options("flink", chosen)


def test_a_repeated_option_keeps_the_values_of_every_layer() -> None:
    layers: list[dict[str, Any]] = [
        {"experiments": ["use_runner_v2", "shuffle"], "labels": ["a=b"], "max_num_workers": 50},
        {"experiment": "upload_graph", "max_num_workers": 7, "no_use_public_ips": True},
        {"labels": ["a=b", "team=ml"], "experiments": "use_runner_v2", "use_public_ips": True},
    ]
    assert beam_options.merge(*layers) == {
        "experiments": ["use_runner_v2", "shuffle", "upload_graph"],
        "labels": ["a=b", "team=ml"],
        "max_num_workers": 7,
        "use_public_ips": True,
    }
    assert beam_options.merge({}, layers[1]) == layers[1]


def test_an_experiment_of_the_user_s_leaves_those_of_the_job() -> None:
    defaults = {**NEEDED, "experiments": ["use_runner_v2"]}
    options = runners.read_options("dataflow", {"experiments": ["mine"]}, defaults)
    assert options.view_as(DebugOptions).experiments == ["use_runner_v2", "mine"]


@pytest.mark.parametrize(
    "address",
    [
        {"environment_config": "localhost:1"},
        {"environment_option": "external_service_address=localhost:1"},
    ],
)
def test_a_pool_works_for_the_local_runner(address: dict[str, str]) -> None:
    chosen = {"environment_type": "EXTERNAL", "direct_num_workers": 2, **address}
    assert runners.pool_of(chosen) == "localhost:1"
    options = runners.read_options("local", chosen).view_as(DirectOptions)
    assert (options.direct_num_workers, options.direct_running_mode) == (2, "in_memory")


@pytest.mark.parametrize("kind", ["LOOPBACK", "DOCKER", "EXTERNAL"])
def test_other_workers_of_the_local_runner_are_refused(kind: str) -> None:
    with pytest.raises(RunnerError, match=f"here environment_type is '{kind}'"):
        runners.check_options("local", {"environment_type": kind})


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:8080",
        "https://evil.example#.googleapis.com",
        "http://dataflow.googleapis.com",
    ],
)
def test_dataflow_is_asked_at_google_alone(endpoint: str) -> None:
    with pytest.raises(RunnerError, match="is no host of Google's, and the credentials"):
        runners.check_options("dataflow", {"dataflow_endpoint": endpoint})
    runners.check_options("dataflow", {"dataflow_endpoint": "https://dataflow.googleapis.com"})
    runners.check_options("dataflow", {"dataflow_endpoint": endpoint, "no_auth": True})
