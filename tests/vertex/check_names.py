"""Names that a uri would have to quote: the steps take every name of a bucket as it is."""

from __future__ import annotations

import json

import pytest

from tests.vertex import table
from tests.vertex.driver import Driver, document
from tests.vertex.machine import BUCKET, Machine

HARD = "a b ü%41%zz#x?y=1[1]*:;+&='{}<>|~^$HOME`."
"""All that a bucket takes, but for what would break the JSON text of a training job."""


@pytest.fixture(scope="module")
def hard(vertex: Machine, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A run of a table and below a root of such a name, which submit would not send."""
    source = f"gs://{BUCKET}/{HARD}/t?y=1[1].csv"
    vertex.storage.put(source, table.rows())
    vertex.storage.put(source.replace("t?y", "tay"), b"no table of ours\n")
    changes = {"source": {"uri": source}}
    job = table.submitted(vertex, tmp_path_factory.mktemp("hard"), changes)
    sent = json.dumps(job, ensure_ascii=False).replace(table.ROOT, f"gs://{BUCKET}/{HARD}")
    driver = Driver(vertex, json.loads(sent), "toys-hard")
    driver.run()
    return driver


def test_a_run_passes_on_names_that_a_uri_would_quote(vertex: Machine, hard: Driver) -> None:
    metrics = document(vertex, hard, "measure", "evaluation/metrics.json")
    assert metrics["gate"]["passed"] and metrics["rows"] > 500
    manifest = document(vertex, hard, "preprocess", "examples/manifest.json")
    assert manifest["rows"]["read"] == table.ROWS + 1


def test_all_that_it_writes_is_below_its_root(vertex: Machine, hard: Driver) -> None:
    names = set(vertex.storage.buckets[BUCKET].objects)
    assert [n for n in names if "/toys-hard/" in n and not n.startswith(f"{HARD}/")] == []
    assert f"{HARD}/toys/statistics/champion.json" in names
