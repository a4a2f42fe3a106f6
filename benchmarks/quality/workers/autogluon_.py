"""Trains AutoGluon, medium or high, on one core.

Medium takes the validation rows to stop and to weight by. High, which folds its rows itself, takes
them with the train rows.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.quality.workers.work import LABEL, Split, arguments, read_split, run

METRICS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "root_mean_squared_error"}
PRESETS = {"AutoGluon medium": "medium_quality", "AutoGluon high": "high_quality"}


def _frame(part: tuple[pd.DataFrame, np.ndarray], split: Split) -> pd.DataFrame:
    x, y = part
    label = np.array(split.classes)[y] if split.is_class else y
    return x.assign(**{LABEL: label})


def main() -> None:
    """Trains the preset that the command line names, within its limit of seconds."""
    from autogluon.tabular import TabularPredictor

    folder, system, out, limit = arguments()
    split = read_split(folder)
    train, validation = _frame(split.train, split), _frame(split.validation, split)
    options: dict[str, Any] = {"tuning_data": validation}
    if system == "AutoGluon high":
        train, options = pd.concat([train, validation], ignore_index=True), {"time_limit": limit}

    with tempfile.TemporaryDirectory() as models:

        def fit() -> Any:
            predictor = TabularPredictor(
                label=LABEL,
                problem_type=split.task,
                eval_metric=METRICS[split.task],
                path=f"{models}/models",
                verbosity=0,
            )
            predictor.fit(train, presets=PRESETS[system], num_cpus=1, num_gpus=0, **options)
            return predictor

        def load(fitted: Any) -> Any:
            predictor = TabularPredictor.load(fitted.path)
            predictor.persist()
            return predictor

        def answer(predictor: Any) -> np.ndarray:
            if not split.is_class:
                return predictor.predict(split.test).to_numpy()
            found = predictor.predict_proba(split.test)
            return found.reindex(columns=split.classes, fill_value=0.0).to_numpy()

        run(fit, answer, out, ["autogluon.tabular"], load=load, seconds_allowed=round(limit))


if __name__ == "__main__":
    main()
