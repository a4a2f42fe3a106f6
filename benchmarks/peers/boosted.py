"""Trains a boosted-tree library with its defaults.

boosted.py ROWS TASK LABEL LIBRARY SEED PREDICTIONS OUT; it does not use the last, the run's folder.

It writes the predictions for the test rows as .npy: probabilities of the classes in their order, or
values. Only CatBoost uses the validation rows by default, to choose its best iteration. Text
columns are categories in the form of each library.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measuring import measured

THREADS = 1


def main(
    rows: str, task: str, label: str, library: str, seed: str, predictions: str, _: str
) -> None:
    """Trains, measures and writes the predictions."""
    frame = pd.read_csv(rows, na_values=["?", "NA"])
    split = frame.pop("split")
    target = frame.pop(label)
    if task != "regression":
        classes = np.unique(target)
        target = pd.Series(np.searchsorted(classes, target))
    text = [c for c in frame.columns if frame[c].dtype.kind not in "iuf"]
    parts = {s: (frame[split == s], target[split == s]) for s in ("train", "validation", "test")}
    is_class = task != "regression"
    model: Any = None

    def work() -> None:
        nonlocal model
        model = FITS[library](parts, text, is_class, int(seed))

    measured(work, dict)
    prepared = PREPARE[library](parts, text)["test"][0]
    np.save(predictions, model.predict_proba(prepared) if is_class else model.predict(prepared))


def _categories(parts: dict[str, Any], text: list[str]) -> dict[str, Any]:
    """Converts text columns to the dtype category, with the levels of the train split."""
    types = {c: pd.CategoricalDtype(np.unique(parts["train"][0][c].dropna())) for c in text}
    return {s: (x.astype(types), y) for s, (x, y) in parts.items()}


def _texts(parts: dict[str, Any], text: list[str]) -> dict[str, Any]:
    """Fills missing text, which CatBoost refuses."""
    return {s: (x.fillna(dict.fromkeys(text, "")), y) for s, (x, y) in parts.items()}


def _lightgbm(parts: dict[str, Any], text: list[str], is_class: bool, seed: int) -> Any:
    import lightgbm

    kind = lightgbm.LGBMClassifier if is_class else lightgbm.LGBMRegressor
    model = kind(random_state=seed, n_jobs=THREADS, verbose=-1)
    return model.fit(*_categories(parts, text)["train"])


def _xgboost(parts: dict[str, Any], text: list[str], is_class: bool, seed: int) -> Any:
    import xgboost

    kind = xgboost.XGBClassifier if is_class else xgboost.XGBRegressor
    model = kind(random_state=seed, n_jobs=THREADS, enable_categorical=True)
    return model.fit(*_categories(parts, text)["train"])


def _histgradient(parts: dict[str, Any], text: list[str], is_class: bool, seed: int) -> Any:
    from sklearn import ensemble

    name = "Classifier" if is_class else "Regressor"
    kind = getattr(ensemble, f"HistGradientBoosting{name}")
    model = kind(random_state=seed, categorical_features="from_dtype")
    return model.fit(*_categories(parts, text)["train"])


def _catboost(parts: dict[str, Any], text: list[str], is_class: bool, seed: int) -> Any:
    import catboost

    kind = catboost.CatBoostClassifier if is_class else catboost.CatBoostRegressor
    model = kind(random_state=seed, thread_count=THREADS, cat_features=text, verbose=0,
                 allow_writing_files=False)  # fmt: skip
    parts = _texts(parts, text)
    return model.fit(*parts["train"], eval_set=parts["validation"])


FITS: dict[str, Callable[..., Any]] = {
    "LightGBM": _lightgbm,
    "XGBoost": _xgboost,
    "HistGradientBoosting": _histgradient,
    "CatBoost": _catboost,
}
PREPARE: dict[str, Callable[..., Any]] = {
    "LightGBM": _categories,
    "XGBoost": _categories,
    "HistGradientBoosting": _categories,
    "CatBoost": _texts,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
