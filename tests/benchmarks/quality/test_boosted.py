import json
import subprocess
import textwrap

import numpy as np
import pandas as pd
import pytest

from benchmarks.quality.places import CACHE, ROOT
from benchmarks.quality.workers.work import Split

BOOSTED = CACHE / "environments/boosted/bin/python"
STOP = """
    import json, sys, types
    import numpy as np, pandas as pd
    from benchmarks.quality.workers import boosted
    from benchmarks.quality.workers.work import Split

    generator = np.random.default_rng(0)

    def part(n):
        x = generator.normal(size=n)
        noisy = (x + generator.normal(size=n) > 0).astype(np.int64)
        return pd.DataFrame({"x": x}), noisy

    train, (x, y), test = part(600), part(200), part(9)[0]
    rounds = {
        "LightGBM": lambda model: model.best_iteration_,
        "XGBoost": lambda model: model.best_iteration + 1,
        "CatBoost": lambda model: model.tree_count_,
        "HistGradientBoosting": lambda model: model.n_iter_ - boosted.PATIENCE,
    }
    found = {}
    for name, of in rounds.items():
        splits = (Split("binary", ["no", "yes"], {}, train, (x, l), test) for l in (y, 1 - y))
        found[name] = [int(of(boosted.FITS[name][0](one)[0])) for one in splits]
    print(json.dumps(found))
"""

NOTHING_LEFT = """
    import json
    import numpy as np, pandas as pd
    from benchmarks.quality.workers import boosted
    from benchmarks.quality.workers.work import Split

    def part(n):
        return pd.DataFrame({"note": ["fine"] * n}), np.arange(n) % 4 // 3

    split = Split("binary", ["no", "yes"], {"note": "text"}, part(400), part(80), part(9)[0])
    found = {}
    for name in ("LightGBM", "XGBoost", "HistGradientBoosting"):
        model, seen = boosted.FITS[name][0](split)
        found[name] = boosted._predict(model, seen.test, split)[:, 1].tolist()
    print(json.dumps(found))
"""


def _run(script: str) -> dict:
    """Runs a script in the environment of the libraries, and returns what it prints."""
    ended = subprocess.run(
        [str(BOOSTED), "-c", textwrap.dedent(script)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.skipif(not BOOSTED.exists(), reason="the measure makes the environment of the trees")
def test_the_validation_rows_alone_decide_when_a_library_stops():
    found = _run(STOP)
    assert list(found) == ["LightGBM", "XGBoost", "CatBoost", "HistGradientBoosting"]
    for stopped, misled in found.values():
        assert misled <= 2 < stopped < 500


@pytest.mark.skipif(not BOOSTED.exists(), reason="the measure makes the environment of the trees")
def test_a_library_that_has_no_column_but_text_answers_the_share_of_each_class():
    found = _run(NOTHING_LEFT)
    assert list(found) == ["LightGBM", "XGBoost", "HistGradientBoosting"]
    for shares in found.values():
        assert shares == pytest.approx([0.25] * 9, abs=1e-3)


@pytest.fixture
def split() -> Split:
    words = [pd.DataFrame({"word": list(w), "text": list(w)}) for w in ("aab", "ab", "abc")]
    train, validation, test = words
    labels = np.array([0, 1, 0])
    kinds = {"word": "category", "text": "text"}
    return Split("binary", ["no", "yes"], kinds, (train, labels), (validation, labels[:2]), test)


def test_a_level_that_no_train_row_has_is_missing(split):
    seen = split.with_categories().test["word"]
    assert list(seen.cat.categories) == ["a", "b"]
    assert seen.isna().tolist() == [False, False, True]


def test_the_most_frequent_levels_stay_where_a_library_has_a_limit(split):
    assert list(split.with_categories(1).test["word"].cat.categories) == ["a"]


def test_free_text_can_be_left_out(split):
    assert list(split.without("text").test.columns) == ["word"]
