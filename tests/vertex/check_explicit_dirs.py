"""A mount without --implicit-dirs shows a folder only if it has an object of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from quatrain.components.storage import mounted
from tests.vertex import machine, table
from tests.vertex.driver import Driver, document


@pytest.fixture(scope="module")
def explicit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[machine.Machine]:
    if not machine.GCSFUSE:
        pytest.skip(machine.why_not())
    with machine.starting(tmp_path_factory.mktemp("explicit"), implicit_dirs=False) as started:
        yield started


@pytest.fixture(scope="module")
def run(explicit: machine.Machine, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    driver = Driver(explicit, table.submitted(explicit, tmp_path_factory.mktemp("job")), "toys-1")
    driver.run()
    return driver


def test_the_mount_hides_a_folder_that_only_the_api_made(explicit: machine.Machine) -> None:
    explicit.storage.put(f"{table.ROOT}/hidden/by/the/mount", b"")
    assert not Path(mounted(f"{table.ROOT}/hidden")).exists()


def test_a_run_passes_on_such_a_mount(explicit: machine.Machine, run: Driver) -> None:
    assert document(explicit, run, "measure", "evaluation/metrics.json")["gate"]["passed"]


def test_the_artifacts_of_a_run_are_seen_by_the_next_one(
    explicit: machine.Machine, run: Driver
) -> None:
    root = Path(mounted(run.root))
    hidden = {name for name in explicit.objects(run.root) if not (root / name).is_file()}
    # Nobody reads the launcher's file, checkpoints and events by the mount.
    by_api = re.compile("gcp_resources|/checkpoints/|/logs/")
    assert {name for name in hidden if not by_api.search(name)} == set()
