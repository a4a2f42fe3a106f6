"""A frame trains the model of its CSV, weight for weight, and is predicted as its CSV is."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow.csv as pacsv
import pytest

import quatrain

pytestmark = pytest.mark.whole

TAXI = Path(__file__).parent / "quatrain/draft/tables/taxi.csv"
SETTINGS = {"train.model": "linear", "train.epochs": 2}


def weights(run: quatrain.Run) -> dict[str, str]:
    """Returns the digests of the files that hold what a model has learned."""
    metadata = json.loads((Path(run.place) / "model/metadata.json").read_text())
    return {name: digest for name, digest in metadata["files"].items() if "variables" in name}


def test_a_frame_trains_and_predicts_to_the_numbers_of_its_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    proposal = quatrain.init(TAXI, "tips", output="taxi.yaml")
    of_csv = quatrain.run(proposal, set=SETTINGS)
    of_frame = quatrain.run("taxi.yaml", set=SETTINGS, data=pd.read_csv(TAXI))
    assert weights(of_csv)
    assert weights(of_frame) == weights(of_csv)
    assert of_frame.metrics.document["metrics"] == of_csv.metrics.document["metrics"]
    assert of_frame.predictions().equals(of_csv.predictions())
    frames: list[Any] = [pd.read_csv(TAXI), pl.read_csv(TAXI), pacsv.read_csv(TAXI)]
    first, *others = [of_csv.model.predict(frame) for frame in frames]
    assert first.num_rows == 300
    assert all(other.equals(first) for other in others)
