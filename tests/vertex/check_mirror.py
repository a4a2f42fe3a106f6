"""The exit task of a job mirrors its lineage to an experiment, with the job's own credentials."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import tls
from tests.emulators.metadata_store import MetadataStores
from tests.vertex import table
from tests.vertex.driver import Driver, TaskFailed, document
from tests.vertex.machine import Machine

EXPERIMENT = "toys-weekly"
ROOT = table.ROOT.replace("/root", "/mirrored")


@dataclasses.dataclass
class Project:
    """A machine whose runs reach an emulated metadata store."""

    machine: Machine
    stores: MetadataStores
    folder: Path

    def driver(self, name: str, changes: dict[str, Any]) -> Driver:
        """Returns a run that has not begun."""
        (folder := self.folder / name).mkdir()
        self.stores.add_run(name)
        settings = [f"root={ROOT}", f"experiment={EXPERIMENT}"]
        job = table.submitted(self.machine, folder, changes, set_cloud=settings)
        return Driver(self.machine, job, name)

    def run_of(self, name: str) -> dict[str, Any]:
        """Returns the metadata of a run's context."""
        nodes, end = self.stores.nodes.items(), f"/contexts/{EXPERIMENT}-{name}"
        (context,) = (node for key, node in nodes if key.endswith(end))
        return dict(context.metadata)

    @property
    def artifacts(self) -> dict[str, str]:
        """The uri of each artifact by its id."""
        nodes = self.stores.nodes.items()
        return {k.rpartition("/")[2]: n.uri for k, n in nodes if "/artifacts/" in k}


@pytest.fixture(scope="module")
def project(vertex: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder, stores = tmp_path_factory.mktemp("stores"), MetadataStores()
    with tls.serving_rest(
        stores, "europe-west1", folder, vertex.environment["https_proxy"]
    ) as leading:
        machine = dataclasses.replace(vertex, environment={**vertex.environment, **leading})
        yield Project(machine, stores, folder)


@pytest.fixture(scope="module")
def green(project: Project) -> Driver:
    driver = project.driver("toys-1", {})
    driver.run()
    return driver


def test_a_green_run_is_in_its_experiment_with_what_it_was_made_from(
    project: Project, green: Driver
) -> None:
    (attempt,) = green.exits
    assert attempt.code == 0
    assert "notify: mirrored to experiment toys-weekly, in 13 requests" in attempt.log
    run = project.run_of("toys-1")
    assert (run["_state"], run["_params"]["decision"]) == ("COMPLETE", "promote")
    metrics = document(project.machine, green, "measure", "evaluation/metrics.json")["metrics"]
    assert run["_metrics"]["auc"] == metrics["auc"]["value"]
    lineage = document(project.machine, green, "measure", "evaluation/lineage.json")
    assert project.artifacts == {
        f"quatrain-source-{lineage['source']['digest']}": table.SOURCE,
        f"quatrain-trainer-{lineage['trainer']}": "",
        f"quatrain-image-{'0a' * 32}": table.IMAGE,
        f"quatrain-transform-{lineage['examples']['transform']}": (
            f"{green.folders['preprocess']}/examples/transform.json"
        ),
        f"quatrain-model-{lineage['model']}": f"{green.folders['plan']}/model/model",
    }


@pytest.mark.parametrize(
    ("name", "changes", "step", "has_metrics"),
    [
        ("toys-2", {"evaluate": {"gate": {"auc": {"min": 0.99999}}}}, "evaluate", True),
        ("toys-3", {"source": {"uri": f"{table.SOURCE}.gz"}}, "preprocess", False),
    ],
)
def test_a_red_run_is_there_as_far_as_it_got(
    project: Project, name: str, changes: dict[str, Any], step: str, has_metrics: bool
) -> None:
    driver = project.driver(name, changes)
    with pytest.raises(TaskFailed):
        driver.run()
    (attempt,) = driver.exits
    assert attempt.code == 0
    run = project.run_of(name)
    assert (run["_state"], run["_params"]["failed"]) == ("FAILED", step)
    assert bool(dict(run["_metrics"])) == has_metrics


def test_a_store_that_refuses_leaves_the_run_green(project: Project, green: Driver) -> None:
    before = project.stores.state()
    project.stores.faults = [("create_node", 403, "before")]
    (exit_task,) = (name for name in green.inputs if name == "notify")
    attempt = green.again(exit_task)
    assert attempt.code == 0 and "Traceback" not in attempt.log
    assert "notify: not mirrored to experiment toys-weekly: " in attempt.log
    assert "403 a fault of 403; check that it is there" in attempt.log
    assert green.again(exit_task).code == 0
    assert project.stores.state() == before
