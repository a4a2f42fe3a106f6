"""A run that has ended is mirrored to Vertex AI, and the service's own client reads it back."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform
from kfp import dsl

from quatrain.components import history
from quatrain.components.notify import metadata_store, mirror
from quatrain.components.notify.component import notify
from quatrain.components.notify.metadata_store import MAX_CALLS, MetadataStore
from quatrain.components.notify.mirror import mirror_run
from quatrain.components.specification.parameter import read_parameter
from tests.components.evaluate.test_lineage import IMAGE, Runs
from tests.emulators import vertex
from tests.emulators.metadata_store import MetadataStores

NOW = datetime.datetime(2026, 12, 3, tzinfo=datetime.UTC)
EXPERIMENT = "toys-weekly"
DAG = "The DAG failed because some tasks failed. The failed tasks are: [{}]."


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    made = Runs(tmp_path_factory.mktemp("mirror"))
    for number in (1, 2):
        made.settle(number, made.measure(number))
    return made


def made_stores(kind: type[MetadataStores] = MetadataStores, *arguments: Any) -> MetadataStores:
    """A store of a project that has run the jobs of these tests, at one time."""
    stores = kind(*arguments, now=lambda: NOW)
    for number in (1, 2, 3):
        stores.add_run(f"run-{number}")
    return stores


@pytest.fixture
def stores() -> MetadataStores:
    return made_stores()


@pytest.fixture
def url(stores: MetadataStores) -> Iterator[str]:
    with vertex.serving(stores) as address:
        yield address


def mirrored(
    runs: Runs, url: str, run: str = "run-2", state: str = "SUCCEEDED", message: str = ""
) -> str:
    store = MetadataStore("my-project", "europe-west1", url)
    return mirror_run(store, EXPERIMENT, runs.spec, runs.root, run, state, message)


def client(url: str) -> None:
    """Leads the service's own client to the emulation."""
    aiplatform.init(
        project="my-project",
        location="europe-west1",
        credentials=AnonymousCredentials(),
        api_transport="rest",
        api_endpoint=url,
    )


def test_the_service_s_own_client_reads_runs_parameters_metrics_and_states(
    runs: Runs, url: str
) -> None:
    for run in ("run-1", "run-2"):
        assert mirrored(runs, url, run).startswith("notify: mirrored to experiment toys-weekly")
    mirrored(runs, url, "run-3", "FAILED", DAG.format("preprocess"))
    client(url)
    frame = aiplatform.get_experiment_df(EXPERIMENT).set_index("run_name")
    assert dict(frame["state"]) == {"run-1": "COMPLETE", "run-2": "COMPLETE", "run-3": "FAILED"}
    record = history.measured_run(runs.root, read_parameter(runs.spec).name, "run-2")
    assert record is not None
    for name, metric in record["metrics"].items():
        assert frame.loc["run-2", f"metric.{name}"] == metric["value"]
    assert frame.loc["run-3", "param.failed"] == "preprocess"
    run = aiplatform.ExperimentRun("run-2", EXPERIMENT)
    parameters = run.get_params()
    spec = read_parameter(runs.spec)
    assert (parameters["model"], parameters["spec"]) == (spec.name, spec.sha256)
    assert parameters["champion"] == "run-1"
    (job,) = run.get_logged_pipeline_jobs()
    assert job.name == "run-2"
    assert parameters["train.seed"] == spec.as_document()["train"]["seed"]


def test_the_graph_leads_from_the_data_the_trainer_and_the_images_to_the_model(
    runs: Runs, url: str
) -> None:
    mirrored(runs, url)
    client(url)
    run = aiplatform.ExperimentRun("run-2", EXPERIMENT)
    (execution,) = run.get_executions()
    document = json.loads((runs.folder / "run-2/lineage.json").read_bytes())
    digests = {a.name: a.metadata["sha256"] for a in execution.get_input_artifacts()}
    assert digests == {
        f"quatrain-source-{document['source']['digest']}": "d" * 64,
        f"quatrain-trainer-{document['trainer']}": document["trainer"],
        **{a.name: a.metadata["sha256"] for a in run.get_artifacts() if "image" in a.name},
    }
    assert f"quatrain-image-{IMAGE.partition('@sha256:')[2]}" in digests
    assert len(digests) == 4  # steps and training run in images of their own
    outputs = {a.name: a for a in execution.get_output_artifacts()}
    assert set(outputs) == {
        f"quatrain-transform-{document['examples']['transform']}",
        f"quatrain-model-{document['model']}",
    }
    assert outputs[f"quatrain-model-{document['model']}"].uri == f"{runs.model}/model"
    assert execution.metadata["lineage"]["uri"].endswith("run-2/lineage.json")


def test_repeating_it_changes_nothing_and_takes_no_more_requests_than_are_allowed(
    runs: Runs, url: str, stores: MetadataStores
) -> None:
    mirrored(runs, url)
    before, calls = stores.state(), len(stores.calls)
    assert calls == 14
    assert "mirrored to" in mirrored(runs, url)
    assert stores.state() == before
    assert len(stores.calls) - calls <= MAX_CALLS


class CutOff(MetadataStores):
    """A store that fails at one request, which is carried out or is not."""

    def __init__(self, cut: int, is_carried_out: bool, **of_stores: Any) -> None:
        super().__init__(**of_stores)
        self.cut, self.is_carried_out = cut, is_carried_out

    def answer(self, verb: str, target: str, data: bytes) -> tuple[int, Any]:
        self.cut -= 1
        if self.cut == -1:
            if self.is_carried_out:
                super().answer(verb, target, data)
            return 500, {}
        return super().answer(verb, target, data)


@pytest.mark.parametrize("cut", range(14))
@pytest.mark.parametrize("is_carried_out", [False, True])
def test_one_that_was_cut_off_at_any_request_is_completed_by_the_next(
    runs: Runs, cut: int, is_carried_out: bool
) -> None:
    stores, whole = made_stores(CutOff, cut, is_carried_out), made_stores()
    with vertex.serving(whole) as url:
        mirrored(runs, url)
    with vertex.serving(stores) as url:
        assert ": 500 without a message; check" in mirrored(runs, url)
        assert "notify: mirrored" in mirrored(runs, url)
    assert stores.state() == whole.state()


def test_runs_of_one_source_and_trainer_share_their_artifacts(
    runs: Runs, url: str, stores: MetadataStores
) -> None:
    mirrored(runs, url, "run-1")
    one = {name for name in stores.nodes if "/artifacts/" in name}
    mirrored(runs, url, "run-2")
    assert {name for name in stores.nodes if "/artifacts/" in name} == one


@pytest.mark.parametrize(
    ("code", "part"),
    [
        (403, "403 a fault of 403"),
        (404, "404 a fault of 404"),
        (500, "500 a fault of 500"),
        (0, "no answer (ConnectionError)"),
        (503, "503 a fault of 503"),
    ],
)
def test_a_refusal_is_one_sentence(
    runs: Runs,
    url: str,
    stores: MetadataStores,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    part: str,
) -> None:
    monkeypatch.setattr(metadata_store, "PAUSE_S", 0.0)
    stores.faults = [("create_node", code, "before")] * 20
    line = mirrored(runs, url)
    assert line.startswith("notify: not mirrored to experiment toys-weekly: projects/my-project/")
    assert f"was not taken: {part}; check" in line
    assert line.endswith("roles/aiplatform.user")
    assert "\n" not in line
    assert len(stores.calls) <= MAX_CALLS


def test_a_run_whose_job_is_not_found_is_mirrored_but_for_that(runs: Runs) -> None:
    with vertex.serving(stores := MetadataStores()) as url:
        line = mirrored(runs, url)
    assert "pipelineJobs/run-2 was not taken: 404 The PipelineJob run-2 does not exist" in line
    assert len(stores.events) == 6


def test_a_service_that_is_busy_once_is_called_again(
    runs: Runs, url: str, stores: MetadataStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_store, "PAUSE_S", 0.0)
    stores.faults = [("add_children", 409, "before"), ("add_events", 429, "after")]
    assert mirrored(runs, url) == "notify: mirrored to experiment toys-weekly, in 16 requests"


def test_a_service_that_hangs_does_not_hold_the_run(
    runs: Runs, url: str, stores: MetadataStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "DEADLINE_S", 1.0)
    stores.after_call = lambda method: time.sleep(0.3)
    started = time.monotonic()
    assert mirrored(runs, url).endswith("it took more than 1 s")
    assert time.monotonic() - started < 2.5


def test_a_project_without_a_store_is_told_so(runs: Runs) -> None:
    with vertex.serving(MetadataStores(has_store=False)) as url:
        assert "404 MetadataStore projects/12345/" in mirrored(runs, url)


def test_an_experiment_with_the_name_of_a_pipeline_is_refused(
    runs: Runs, url: str, stores: MetadataStores
) -> None:
    store = MetadataStore("my-project", "europe-west1", url)
    store.create("contexts", EXPERIMENT, "system.Pipeline", {})
    before = stores.state()
    assert "is of schema system.Pipeline, not system.Experiment; name another" in mirrored(
        runs, url
    )
    assert stores.state() == before


def test_an_exit_task_with_nothing_to_do_leaves_its_output_all_the_same(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    status = dsl.PipelineTaskFinalStatus("SUCCEEDED", "n", "t", None, None)
    notify.python_func("{", "", "r", {}, "p", "europe-west1", status, str(sent))
    assert json.loads(sent.read_text()) == []


def test_a_record_that_cannot_be_read_or_a_name_that_is_too_long_is_a_sentence(
    runs: Runs, url: str, stores: MetadataStores, tmp_path: Path
) -> None:
    store = MetadataStore("my-project", "europe-west1", url)
    arguments: dict[str, Any] = {"root": runs.root, "run": "r", "state": "FAILED", "message": ""}
    line = mirror_run(store, EXPERIMENT, "{", **arguments)
    assert line.startswith("notify: not mirrored to experiment toys-weekly: spec: is not JSON")
    line = mirror_run(store, EXPERIMENT, runs.spec, **{**arguments, "run": "r" * 120})
    assert "is longer than 121 characters" in line
    assert not stores.calls
