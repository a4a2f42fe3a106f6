"""Trains a boosted-tree library that stops early on the validation rows, or a linear model.

Up to 2 000 rounds at a rate of .05, a patience of 50 rounds, one thread, categories native. Free
text is for CatBoost, which reads it; the three others do without.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.quality.workers.work import Split, arguments, read_split, run

ROUNDS = 2_000
RATE = 0.05
PATIENCE = 50
THREADS = 1
SEED = 0
MOST_LEVELS = 254
"""The most levels of a category that scikit-learn's trees take, beside a missing one."""


def _lightgbm(split: Split) -> tuple[Any, Split]:
    import lightgbm

    split = split.without("text").with_categories()
    kind = lightgbm.LGBMClassifier if split.is_class else lightgbm.LGBMRegressor
    model = kind(
        n_estimators=ROUNDS, learning_rate=RATE, n_jobs=THREADS, random_state=SEED, verbose=-1
    )
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    metric = {"binary": "binary_logloss", "multiclass": "multi_logloss", "regression": "rmse"}
    model.fit(
        *split.train, eval_set=[split.validation], eval_metric=metric[split.task], callbacks=[stop]
    )
    return model, split


def _xgboost(split: Split) -> tuple[Any, Split]:
    import xgboost

    split = split.without("text").with_categories()
    kind = xgboost.XGBClassifier if split.is_class else xgboost.XGBRegressor
    metric = {"binary": "logloss", "multiclass": "mlogloss", "regression": "rmse"}
    model = kind(
        n_estimators=ROUNDS,
        learning_rate=RATE,
        early_stopping_rounds=PATIENCE,
        eval_metric=metric[split.task],
        enable_categorical=True,
        n_jobs=THREADS,
        random_state=SEED,
    )
    model.fit(*split.train, eval_set=[split.validation], verbose=False)
    return model, split


def _histgradient(split: Split) -> tuple[Any, Split]:
    from sklearn import ensemble

    split = split.without("text").with_categories(MOST_LEVELS)
    name = "Classifier" if split.is_class else "Regressor"
    model = getattr(ensemble, f"HistGradientBoosting{name}")(
        max_iter=ROUNDS,
        learning_rate=RATE,
        early_stopping=True,
        n_iter_no_change=PATIENCE,
        categorical_features="from_dtype",
        random_state=SEED,
    )
    x, y = split.validation
    return model.fit(*split.train, X_val=x, y_val=y), split


def _catboost(split: Split) -> tuple[Any, Split]:
    import catboost

    split = split.with_texts()
    kind = catboost.CatBoostClassifier if split.is_class else catboost.CatBoostRegressor
    model = kind(
        iterations=ROUNDS,
        learning_rate=RATE,
        early_stopping_rounds=PATIENCE,
        thread_count=THREADS,
        random_seed=SEED,
        cat_features=split.of("category"),
        text_features=split.of("text") or None,
        allow_writing_files=False,
        verbose=0,
    )
    return model.fit(*split.train, eval_set=split.validation), split


def _words(split: Split) -> tuple[Any, Split]:
    """Words and pairs of words weighted by TF-IDF, levels and scaled numbers, one linear model.

    The validation rows choose the strength of its penalty.
    """
    from sklearn import compose, feature_extraction, impute, linear_model, pipeline, preprocessing

    split = split.with_texts()
    words = feature_extraction.text.TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    numbers = pipeline.make_pipeline(
        impute.SimpleImputer(keep_empty_features=True), preprocessing.StandardScaler()
    )
    levels = preprocessing.OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=3)
    columns = [(f"text {name}", words, name) for name in split.of("text")]
    columns += [("levels", levels, split.of("category")), ("numbers", numbers, split.of("number"))]
    inputs = compose.ColumnTransformer(columns).fit(split.train[0])
    train, validation = inputs.transform(split.train[0]), inputs.transform(split.validation[0])
    strengths = (0.3, 1.0, 3.0, 10.0, 30.0) if split.is_class else (1.0, 3.0, 10.0, 30.0)
    models = []
    for strength in strengths:
        if split.is_class:
            model: Any = linear_model.LogisticRegression(C=strength, max_iter=500)
        else:
            model = linear_model.Ridge(alpha=strength)
        model.fit(train, split.train[1])
        models.append((_loss(_predict(model, validation, split), split.validation[1]), model))
    best = min(models, key=lambda one: one[0])[1]
    return pipeline.make_pipeline(inputs, best), split


def _loss(predicted: np.ndarray, labels: np.ndarray) -> float:
    if predicted.ndim == 1:
        return float(np.mean((predicted - labels) ** 2))
    return float(-np.log(np.maximum(predicted[np.arange(len(labels)), labels], 1e-15)).mean())


def _predict(model: Any, rows: Any, split: Split) -> np.ndarray:
    return np.asarray(model.predict_proba(rows) if split.is_class else model.predict(rows))


FITS: dict[str, tuple[Callable[[Split], tuple[Any, Split]], str]] = {
    "LightGBM": (_lightgbm, "lightgbm"),
    "XGBoost": (_xgboost, "xgboost-cpu"),
    "CatBoost": (_catboost, "catboost"),
    "HistGradientBoosting": (_histgradient, "scikit-learn"),
    "TF-IDF and linear": (_words, "scikit-learn"),
}


MODULES = {
    "lightgbm": "lightgbm",
    "xgboost-cpu": "xgboost",
    "catboost": "catboost",
    "scikit-learn": "sklearn.ensemble",
}


def main() -> None:
    """Trains the library that the command line names."""
    folder, system, out, _ = arguments()
    split = read_split(folder)
    fit, package = FITS[system]
    importlib.import_module(MODULES[package])  # which is not training

    def answer(fitted: tuple[Any, Split]) -> np.ndarray:
        model, seen = fitted
        return _predict(model, seen.test, split)

    run(lambda: fit(split), answer, out, [package])


if __name__ == "__main__":
    main()
