"""The job of Dataflow: its whole description, its start on loopback, and its ends."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from quatrain.components.engine import dataflow
from quatrain.components.errors import DataError, RunnerError
from quatrain.components.preprocess.run import preprocess
from quatrain.components.specification.schema import ModelSpec
from tests.emulators import dataflow as emulated
from tests.emulators import storage

IMAGE = "europe-west1-docker.pkg.dev/my-project/r/quatrain@sha256:" + "0a" * 32
OUT = "gs://b/quatrain/examples"


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Storage]:
    """A bucket on loopback, for every client, and credentials without a service behind them."""
    with storage.serving() as served:
        key = storage.write_credentials(tmp_path / "key.json", served.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", served.url)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
        served.add_bucket("b")
        yield served


def launch(spec: ModelSpec, url: str, resources: Path, **options: Any) -> int:
    """Runs the step as Vertex AI does."""
    return preprocess(
        spec.as_json(),
        runner="dataflow",
        out=OUT,
        project="my-project",
        location="europe-west1",
        range_bytes=2000,
        image=IMAGE,
        gcp_resources=str(resources),
        runner_options={
            "dataflow_endpoint": url,
            "no_auth": True,
            "service_account_email": "w@my-project.iam.gserviceaccount.com",
            "subnetwork": "regions/europe-west1/subnetworks/s",
            "labels": ["quatrain=delays", "team=ml"],
            "max_num_workers": 7.0,
            **options,
        },
    )


def test_the_job_has_our_image_account_network_labels_bounds_and_steps(
    small_spec: ModelSpec, google: storage.Storage, tmp_path: Path
) -> None:
    from apache_beam.portability.api import beam_runner_api_pb2

    service, staged = emulated.Dataflow(), dict[str, bytes]()
    create = service.create

    def keep_staged(*arguments: Any) -> dict[str, Any]:
        objects = google.buckets["b"].objects
        staged.update({n: o.data for n, o in objects.items() if ".dataflow/" in n})
        return create(*arguments)

    service.create = keep_staged  # type: ignore[method-assign]
    with emulated.serving(service) as url, pytest.raises(RunnerError, match=r"manifest\.json"):
        # The emulated service runs nothing, and says DONE: the step does not believe it.
        launch(small_spec, url, tmp_path / "new" / "gcp_resources")
    ((job_id, job),) = service.jobs.items()
    shown = json_format.MessageToDict(type(job).pb(job))
    environment = shown["environment"]
    (workers,) = environment["workerPools"]
    assert re.fullmatch(r"quatrain-delays-\d{8}-\d{6}-[0-9a-f]{4}", shown["name"])
    assert (shown["projectId"], shown["location"]) == ("my-project", "europe-west1")
    assert shown["labels"] == {"quatrain": "delays", "team": "ml"}
    assert environment["serviceAccountEmail"] == "w@my-project.iam.gserviceaccount.com"
    assert environment["tempStoragePrefix"].startswith(
        "storage.googleapis.com/b/quatrain/examples.dataflow/temp"
    )
    assert {i["containerImage"] for i in workers["sdkHarnessContainerImages"]} == {IMAGE}
    assert workers["subnetwork"] == "regions/europe-west1/subnetworks/s"
    assert workers["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert workers["autoscalingSettings"] == {
        "algorithm": "AUTOSCALING_ALGORITHM_BASIC",
        "maxNumWorkers": 7,
    }
    assert "packages" not in workers  # nothing is installed on a worker
    assert "use_runner_v2" in environment["experiments"]
    (pipeline,) = [data for name, data in staged.items() if name.endswith("pipeline.pb")]
    proto = beam_runner_api_pb2.Pipeline.FromString(pipeline)
    assert not set(staged) & set(google.buckets["b"].objects)
    names = {t.unique_name for t in proto.components.transforms.values()}
    assert {"Clean", "Fit", "Engineer", "Commit"} <= names
    (described,) = proto.components.environments.values()
    assert IMAGE.encode() in described.payload and not described.dependencies
    uri = f"projects/my-project/locations/europe-west1/jobs/{job_id}"
    assert json.loads((tmp_path / "new" / "gcp_resources").read_text()) == {
        "resources": [
            {
                "resourceType": "DataflowJob",
                "resourceUri": f"https://dataflow.googleapis.com/v1b3/{uri}",
            }
        ]
    }


def test_a_job_that_fails_gives_its_reason_and_leaves_nothing(
    small_spec: ModelSpec, google: storage.Storage, tmp_path: Path
) -> None:
    service = emulated.Dataflow(["JOB_STATE_FAILED"], "Workflow failed.\nThe zone has no workers.")
    google.put(f"{OUT}/left.parquet", b"x")
    with emulated.serving(service) as url, pytest.raises(RunnerError) as caught:
        launch(small_spec, url, tmp_path / "gcp_resources")
    assert "ended as FAILED: Workflow failed. The zone has no workers.; look: https://" in str(
        caught.value
    )
    left = [n for n in google.buckets["b"].objects if n.startswith("quatrain/examples/")]
    assert [n for n in left if not n.endswith("/")] == []


def test_sigterm_cancels_the_job(
    small_spec: ModelSpec, google: storage.Storage, tmp_path: Path
) -> None:
    service = emulated.Dataflow(["JOB_STATE_RUNNING"])

    def terminate() -> None:
        service.polled.wait(60)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=terminate)
    with emulated.serving(service) as url:
        thread.start()
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            launch(small_spec, url, tmp_path / "gcp_resources")
        thread.join()
    assert service.cancelled == list(service.jobs)


def test_sigterm_while_the_job_is_created_cancels_it_too(
    small_spec: ModelSpec, google: storage.Storage, tmp_path: Path
) -> None:
    service = emulated.Dataflow(["JOB_STATE_RUNNING"])
    create = service.create

    def terminate_first(*arguments: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        return create(*arguments)

    service.create = terminate_first  # type: ignore[method-assign]
    with emulated.serving(service) as url, pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        launch(small_spec, url, tmp_path / "gcp_resources")
    assert len(service.jobs) == 1 and service.cancelled == list(service.jobs)


def test_a_problem_with_the_rows_is_raised_from_the_bucket(
    small_spec: ModelSpec, google: storage.Storage, tmp_path: Path
) -> None:
    service = emulated.Dataflow()
    read_state = service.read

    def end(job_id: str) -> dict[str, Any]:
        record = {"kind": "DataError", "message": "there are no rows"}
        google.put(f"{OUT}/.spill/error.json", json.dumps(record).encode())
        return read_state(job_id)

    service.read = end  # type: ignore[method-assign]
    with emulated.serving(service) as url, pytest.raises(DataError, match="there are no rows"):
        launch(small_spec, url, tmp_path / "gcp_resources")


@pytest.mark.parametrize(
    ("out", "options", "sentence"),
    [
        ("/runs/examples", {}, r"writes to a bucket, and this run to /runs/examples"),
        (OUT, {"sdk_container_image": "other"}, r"is other, but the step that launches runs"),
    ],
)
def test_a_job_that_workers_could_not_do_is_refused_before_anything_starts(
    small_spec: ModelSpec, out: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RunnerError, match=sentence):
        preprocess(
            small_spec.as_json(),
            runner="dataflow",
            out=out,
            image=IMAGE,
            runner_options=options,
        )


def test_another_beam_than_the_image_s_is_refused() -> None:
    with pytest.raises(
        RunnerError, match=r"has Beam 2\.\d+\.\d+, and the image of the workers 2.99"
    ):
        dataflow.check_launch({}, IMAGE, OUT, image_beam="2.99.0")
