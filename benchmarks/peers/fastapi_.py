"""A plain server of boosted trees: `fastapi_.py TRAIN.parquet PORT`.

It is what one writes without a framework for models: FastAPI, pandas and LightGBM with its
defaults, in one process of uvicorn. The request is that of Vertex AI, and the answer has the
probabilities alone. It runs in an environment of its own.
"""

from __future__ import annotations

import sys
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

LABEL = "label_"


class Request(BaseModel):
    """The body of a request."""

    instances: list[dict[str, Any]]


def fit(path: str) -> tuple[lgb.Booster, dict[str, Any]]:
    """Returns trees that are fitted to a table, and the pandas type of each of its columns."""
    frame = pq.read_table(path).to_pandas()
    label = frame.pop(LABEL).astype("category").cat.codes.to_numpy()
    types: dict[str, Any] = {}
    for name in frame:
        if pd.api.types.is_numeric_dtype(frame[name]):
            types[name] = np.float64
        else:
            types[name] = pd.CategoricalDtype(sorted(frame[name].dropna().astype(str).unique()))
    rows = lgb.Dataset(frame.astype(types), label)
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    return lgb.train(settings, rows, 100), types


def main(train: str, port: str) -> None:
    """Fits the trees, then serves until it is stopped."""
    booster, types = fit(train)
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {}

    @app.post("/predict")
    def predict(request: Request) -> dict[str, Any]:
        frame = pd.DataFrame(request.instances, columns=list(types)).astype(types)
        p = booster.predict(frame, num_threads=1)
        return {"predictions": [{"probabilities": [1 - x, x]} for x in p.tolist()]}

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:3])
