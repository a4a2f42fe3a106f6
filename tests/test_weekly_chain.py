"""Six real weekly runs: the promoted run is the champion, and at most two rivals answer."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import quatrain
from quatrain.components import history

pytestmark = pytest.mark.whole
WEEKS = 6


def write_week(path: Path, week: int, rows: int = 1500) -> None:
    """Writes rows of one distribution, which no other week has."""
    draw = np.random.default_rng(week)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "a", "b", "y"])
        for row in range(rows):
            a, b = draw.random(), draw.random()
            label = "yes" if a + 0.3 * b + 0.8 * draw.random() > 1 else "no"
            writer.writerow([f"w{week}r{row}", f"{a:.4f}", f"{b:.4f}", label])


def test_six_runs_record_the_champion_and_the_best_earlier_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_week(Path("week.csv"), 0)
    quatrain.init("week.csv", "y", output="week.yaml")
    promoted: list[str] = []
    for week in range(WEEKS):
        write_week(Path("week.csv"), week)
        before = history.champion_of("runs", "week")
        run = quatrain.run("week.yaml", set={"train.model": "linear"})
        metrics = json.loads(Path(run.place, "metrics.json").read_text())
        rivals = [rival["run"] for rival in (metrics["champion"], metrics["best"]) if rival]
        best = (before or {}).get("best")
        assert rivals == ([before["run"]] if before else []) + ([best["run"]] if best else [])
        assert all(not r["why"] for r in (metrics["champion"], metrics["best"]) if r)
        if metrics["gate"]["decision"] == "promote":
            promoted.append(metrics["run"]["id"])
        now = history.champion_of("runs", "week")
        assert now is not None and now["run"] == promoted[-1]
        assert now["best"] is None or now["best"]["run"] in promoted[:-1]
    assert [move["run"] for move in history.moves("runs", "week")] == promoted
