"""Trains a tuned default of pytabkit on the train rows; the validation rows decide when to stop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmarks.quality.workers.work import Split, arguments, read_split, run

NAMES = {
    "LGBM-TD": "LGBM_TD",
    "XGB-TD": "XGB_TD",
    "CatBoost-TD": "CatBoost_TD",
    "RealMLP-TD": "RealMLP_TD",
    "TabM-D": "TabM_D",
}
NETWORKS = ("RealMLP-TD", "TabM-D")
SEED = 0


def _filled(split: Split) -> Split:
    """Returns the split with the train rows' median for a missing number, and a flag for it."""
    numbers = split.of("number")
    middle = split.train[0][numbers].median().fillna(0.0)
    flagged = [c for c in numbers if split.train[0][c].isna().any()]

    def fill(x: pd.DataFrame) -> pd.DataFrame:
        flags = x[flagged].isna().astype(np.float64).add_suffix(" missing")
        return pd.concat([x.fillna(middle), flags], axis=1)

    train, validation = ((fill(x), y) for x, y in (split.train, split.validation))
    return Split(split.task, split.classes, split.kinds, train, validation, fill(split.test))


def main() -> None:
    """Trains the system that the command line names."""
    import pytabkit
    import torch

    torch.set_num_threads(1)
    folder, system, out, _ = arguments()
    split = read_split(folder).without("text").with_texts()
    split = _filled(split) if system in NETWORKS else split
    kind = "Classifier" if split.is_class else "Regressor"
    options: dict[str, Any] = {"random_state": SEED, "device": "cpu", "n_threads": 1, "n_cv": 1}
    options["val_metric_name"] = "cross_entropy" if split.is_class else "rmse"
    if system == "RealMLP-TD" and split.is_class:
        options["use_ls"] = False  # as its documentation has it for the log-loss

    def train() -> Any:
        model = getattr(pytabkit, f"{NAMES[system]}_{kind}")(**options)
        return model.fit(*split.train, *split.validation, cat_col_names=split.of("category"))

    def answer(model: Any) -> np.ndarray:
        predict = model.predict_proba if split.is_class else model.predict
        return np.asarray(predict(split.test))

    run(train, answer, out, ["pytabkit", "torch"])


if __name__ == "__main__":
    main()
