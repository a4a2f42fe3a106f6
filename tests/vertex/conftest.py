"""One machine and one undisturbed run for all tests, or the reason why there is none here."""

from collections.abc import Iterator

import pytest

from tests.vertex import machine, table
from tests.vertex.driver import Driver


@pytest.fixture(scope="session")
def vertex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[machine.Machine]:
    if reason := machine.why_not():
        pytest.skip(reason)
    with machine.starting(tmp_path_factory.mktemp("machine")) as started:
        yield started


@pytest.fixture(scope="session")
def first(vertex: machine.Machine, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A run that nothing disturbs."""
    job = table.submitted(vertex, tmp_path_factory.mktemp("first"))
    driver = Driver(vertex, job, "toys-1")
    driver.run()
    return driver
