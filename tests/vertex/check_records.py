"""A root that refuses the records of proofs and answers, to be written or to be read."""

from __future__ import annotations

import re

from tests.vertex import table
from tests.vertex.driver import Attempt, Driver
from tests.vertex.machine import BUCKET, Machine


def again(machine: Machine, first: Driver, step: str, root: str, *copied: str) -> Attempt:
    """Runs a step of the first run once more, below a root with copies of what that recorded."""
    for path, data in machine.objects(table.ROOT).items():
        if path.startswith(copied):
            machine.storage.put(f"{root}/{path}", data)
    attempt = first.again(step, parameters={"root": root})
    assert attempt.code == 0 and "Traceback" not in attempt.log, attempt.log[-3000:]
    return attempt


def test_records_that_may_not_be_written_stop_no_step(vertex: Machine, first: Driver) -> None:
    root = f"gs://{BUCKET}/records/unwritten"
    with vertex.storage.forbid("PUT .*records/unwritten/[.]cache/"):
        package = again(vertex, first, "package", root, "toys/")
        measure = again(vertex, first, "measure", root, "toys/")
    cache = re.escape(f"{root}/.cache")
    assert re.search(f"package: the proof is not recorded: .*{cache}/proofs/", package.log)
    assert re.search(f"evaluate: the answers are not recorded: .*{cache}/answers/", measure.log)
    assert vertex.objects(f"{root}/.cache") == {}


def test_records_that_may_not_be_read_are_made_again(vertex: Machine, first: Driver) -> None:
    root = f"gs://{BUCKET}/records/unread"
    with vertex.storage.forbid("GET .*records/unread/[.]cache/"):
        package = again(vertex, first, "package", root, "toys/", ".cache/")
        measure = again(vertex, first, "measure", root, "toys/", ".cache/")
    assert "; the proof is done again" in package.log and "proved by run" not in package.log
    assert "; the model answers again" in measure.log
