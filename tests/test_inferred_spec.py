"""A spec that `quatrain init` wrote runs unedited: a hostile header, an epoch, amounts as text."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.whole

QUATRAIN = [sys.executable, "-c", "from pipelines.cli import main; main()"]
ROOT = Path(__file__).parents[1]
ROWS = 800


def rents() -> str:
    """Amounts with a decimal comma that grow with a size, by the hour, between semicolons."""
    chance = random.Random(7)  # noqa: S311 - not for secrets
    lines = ["start time;Größe m²;e-mail;Lage;label;Miete €"]
    for i in range(ROWS):
        size, place = chance.randint(20, 200), chance.choice(["Mitte", "Nord", "n/a"])
        rent = f"{size * 12.5 + (300 if place == 'Mitte' else 0):,.2f}"
        rent = rent.translate(str.maketrans(",.", ".,")) if i % 40 else ""
        time = 1_600_000_000 + 7200 * i + chance.randint(0, 60)
        lines.append(
            f"{time};{size if i % 9 else '-'};{i % 5};{place};{chance.random():.3f};{rent}"
        )
    return "\ufeff" + "\r\n".join(lines) + "\r\n"


def quatrain(folder: Path, *words: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*QUATRAIN, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=900
    )


def test_a_spec_that_init_wrote_runs_unedited_to_a_passed_gate(tmp_path: Path) -> None:
    (tmp_path / "rents.csv").write_bytes(rents().encode())
    done = quatrain(tmp_path, "init", "rents.csv", "--target", "Miete €")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rents.yaml: miete_number (regression) from 5 of 6 columns")
    spec = yaml.safe_load((tmp_path / "rents.yaml").read_text())
    assert spec["source"] == {"uri": "rents.csv", "nulls": ["", "n/a", "-"], "delimiter": ";"}
    done = quatrain(tmp_path, "run", "rents.yaml", "--set", "train.max_steps=300")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "runs/rents/latest/metrics.json").read_text())
    assert [c["metric"] for c in metrics["gate"]["checks"]] == ["r2", "rmse", "skew"]
    assert metrics["gate"]["passed"]
