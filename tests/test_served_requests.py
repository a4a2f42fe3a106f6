"""From a server's log of requests to the next run's verdict, by the command line alone."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from quatrain.components import history

ROOT = Path(__file__).parents[1]


def quatrain(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "quatrain", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def write_spec(folder: Path) -> None:
    rows = (f"t{i},{i % 17},{'red' if i % 3 else 'blue'},{i % 17 > 8}\n" for i in range(600))
    (folder / "toys.csv").write_text("id,x,colour,y\n" + "".join(rows))
    document = {
        "name": "toys",
        "source": {"uri": "toys.csv"},
        "columns": {"id": "string", "x": "float", "colour": "string", "y": "bool"},
        "label": "y",
        "task": "binary",
        "split": {"by": "hash", "keys": ["id"], "train": 0.6, "validation": 0.2, "test": 0.2},
        "features": [
            {"name": "x", "from": "x", "transform": "standardize"},
            {"name": "colour", "from": "colour", "transform": "vocabulary"},
        ],
        "train": {"model": "linear", "epochs": 4, "batch_size": 32},
        "release": {"log": "served/"},
    }
    (folder / "toys.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


@contextmanager
def serving(folder: Path) -> Iterator[http.client.HTTPConnection]:
    """Serves the champion and logs its requests, until SIGTERM."""
    words = ["serve", "runs/toys", "--port", "0", "--log", "served/"]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "quatrain", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        port = int(process.stdout.readline().rpartition(":")[2].partition("/")[0])
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            yield connection
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def ask(connection: http.client.HTTPConnection, body: Any) -> int:
    connection.request("POST", "/predict", body if isinstance(body, str) else json.dumps(body))
    answer = connection.getresponse()
    answer.read()
    return answer.status


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs; between them, clients have asked for other values than those of training."""
    folder = tmp_path_factory.mktemp("toys")
    write_spec(folder)
    first = quatrain(folder, "run", "toys.yaml")
    assert first.returncode == 0, first.stderr
    drift = json.loads((folder / "runs/toys/latest/drift.json").read_text())
    said = (
        "the requests served were not compared: toys has no champion yet; run until one is promoted"
    )
    assert drift["served"]["sentence"] == said
    with serving(folder) as connection:
        for i in range(150):
            assert ask(connection, {"instances": [{"x": i % 17 + 20, "colour": "green"}]}) == 200
            assert ask(connection, {"instances": [[i % 17 + 20, "green"]]}) == 200
        assert ask(connection, {"instances": [{"x": "much", "colour": "red"}]}) == 400
        assert ask(connection, "no json") == 400
    time.sleep(0.01)
    second = quatrain(folder, "run", "toys.yaml")
    assert second.returncode == 0, second.stderr
    (folder / "printed.txt").write_text(second.stdout + second.stderr)
    return folder


def test_the_next_run_compares_what_was_served_with_the_champion_s_training_data(
    folder: Path,
) -> None:
    run = folder / "runs/toys/latest"
    drift = json.loads((run / "drift.json").read_text())
    served = drift["served"]
    counts = ("requests", "sampled", "rows", "unreadable")
    assert [served[key] for key in counts] == [302, 302, 300, 2]
    [compared] = [c for c in drift["comparisons"] if c.get("served")]
    assert compared["rows"] == {"before": 600, "now": 300}
    assert served["columns"]["colour"]["new"] == 1.0
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["served"] == served


def test_the_verdict_the_page_and_the_record_of_notices_say_so(folder: Path) -> None:
    sentence = "in the requests served, against the champion's training data, colour: new=1 is"
    run = (folder / "runs/toys/latest").resolve()
    metrics = json.loads((run / "metrics.json").read_text())
    assert any(w["sentence"].startswith(sentence) for w in metrics["warnings"])
    assert sentence in (folder / "printed.txt").read_text()
    page = (run / "report.html").read_text()
    assert (
        "The <b>requests served</b>, compared with <b>the champion&#39;s training data</b>" in page
    )
    assert "302 requests served from" in page
    record = history.measured_run(str(folder / "runs"), "toys", run.name)
    assert record is not None
    assert any(warning.startswith(sentence) for warning in record["warnings"])


def test_a_row_of_the_log_has_the_columns_of_an_endpoint_s_table(folder: Path) -> None:
    lines = (folder / "served/requests.jsonl").read_text().splitlines()
    row = json.loads(lines[0])
    assert list(row) == [
        "endpoint",
        "deployed_model_id",
        "logging_time",
        "request_id",
        "request_payload",
        "response_payload",
    ]
    runs = sorted(p.name for p in (folder / "runs/toys").iterdir() if p.name.startswith("2"))
    assert (row["endpoint"], row["deployed_model_id"]) == ("toys", runs[0])
    assert json.loads(row["request_payload"][0]) == {"instances": [{"x": 20, "colour": "green"}]}
    assert "probabilities" in json.loads(row["response_payload"][0])["predictions"][0]
    assert len(lines) == 302
