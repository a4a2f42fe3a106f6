"""Progress lines: the outcome of a step, and what it does until then."""

import io
import json

import pytest

from quatrain.components.errors import ArtifactError
from quatrain.terminal.console import Console, summarize, taken_from_cache
from tests.components.handmade import candidate


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_last_line_of_a_terminal_shows_the_progress_of_the_step(tmp_path):
    log = tmp_path / "train.log"
    progress = "2026-11-25 23:41:41,068 epoch 1: loss 0.5"
    noise = [
        "[KFP Executor]: noise",
        '    "uri": 3',
        "[tensorflow] Function `call` contains input name(s) 5502, renamed to unknown",
        "E0000 00:00:1795649927.242912 10688 cuda_platform.cc:52] failed call to cuInit",
        "2026-11-25 23:41:42.123456: I tensorflow/core/platform: noise",
        "To enable the following instructions: AVX2 FMA, in other operations, rebuild",
    ]
    log.write_text("\n".join(["package: help: 53 lines", progress, *noise, ""]))
    stream = Terminal()
    seconds = iter([0.0, 0.4, 0.6, 1.0])
    console = Console(stream, 4, clock=lambda: next(seconds))
    console.step_started(3, "train")
    for elapsed_s in (11.8, 12.0, 12.4):
        console.step_goes_on(3, "train", elapsed_s, log)
    console.step_ended(3, "train", 20.0, "done")
    assert stream.getvalue().split("\r\x1b[K") == [
        "",
        "[3/4] train    12 s  epoch 1: loss 0.5",
        "[3/4] train        20.0 s  done\n",
    ]


class OutStream(io.StringIO):
    """What a notebook's stdout is."""


OutStream.__module__ = "ipykernel.iostream"


def test_a_line_of_a_notebook_is_replaced_without_escapes(tmp_path):
    stream = OutStream()
    seconds = iter([0.0, 10.0, 20.0])
    console = Console(stream, 4, clock=lambda: next(seconds))
    console.step_started(3, "train")
    for elapsed_s in (9.0, 10.0):
        console.step_goes_on(3, "train", elapsed_s, tmp_path / "train.log")
    console.step_ended(3, "train", 20.0, "done")
    first, second = "[3/4] train     9 s  ", "[3/4] train    10 s  "
    blank = " " * len(first)
    assert stream.getvalue() == (
        f"\r\r{first}\r{blank}\r{second}\r{blank}\r[3/4] train        20.0 s  done\n"
    )


def test_a_notebook_gets_few_updates_since_it_may_save_each_of_them(tmp_path):
    stream, now = OutStream(), [0.0]
    console = Console(stream, 4, clock=lambda: now[0])
    console.step_started(3, "train")
    log = tmp_path / "train.log"
    for tick in range(6_000):  # ten minutes with an epoch each second
        now[0] = tick / 10
        log.write_text(f"2026-11-25 23:41:41,068 epoch {tick // 10}: loss 0.5\n")
        console.step_goes_on(3, "train", now[0], log)
    shown = stream.getvalue().count("epoch")
    for tick in range(6_000, 6_600):  # a minute in which nothing is logged
        now[0] = tick / 10
        console.step_goes_on(3, "train", tick / 10, log)
    assert 30 < shown < 60
    assert stream.getvalue().count("epoch") - shown <= 2


def test_a_notebook_repeats_a_line_for_its_time_alone_every_ten_seconds(tmp_path):
    stream, now = OutStream(), [0.0]
    console = Console(stream, 4, clock=lambda: now[0])
    console.step_started(3, "train")
    for tick in range(300):
        now[0] = tick / 10
        console.step_goes_on(3, "train", now[0], tmp_path / "train.log")
    assert stream.getvalue().count("train") == 2


def test_without_a_terminal_a_step_has_two_lines(tmp_path):
    stream = io.StringIO()
    console = Console(stream, 4)
    console.step_started(3, "train")
    console.step_goes_on(3, "train", 12.0, tmp_path / "train.log")
    console.step_ended(3, "train", 20.0, "done")
    assert stream.getvalue() == "[3/4] train ...\n[3/4] train        20.0 s  done\n"


def test_without_a_terminal_a_long_step_has_a_line_after_ten_seconds_and_then_each_thirty(tmp_path):
    stream = io.StringIO()
    seconds = iter([0.0, 9.0, 10.0, 39.0, 40.0])
    console = Console(stream, 4, clock=lambda: next(seconds))
    console.step_started(3, "train")
    for elapsed_s in (9.0, 10.0, 39.0, 40.0):
        console.step_goes_on(3, "train", elapsed_s, tmp_path / "train.log")
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == [
        "[3/4] train ...",
        "[3/4] train    10 s",
        "[3/4] train    40 s",
    ]


def test_key_numbers_come_from_the_artifacts_manifests(tmp_path):
    model = {
        "steps": 1200,
        "epochs": 3,
        "stopped": "early_stopping",
        "history": [{"validation_loss": 0.5}, {"validation_loss": 0.25}],
    }
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "metadata.json").write_text(json.dumps(model))
    assert summarize({"model": str(tmp_path), "other": "x"}) == (
        "1,200 steps, 3 epochs (early_stopping), best validation loss 0.2500"
    )
    assert summarize({"model": str(tmp_path / "absent")}) == ""


def test_the_loss_is_that_of_what_was_exported(tmp_path):
    model = {
        "model": {
            "kind": "blend",
            "candidates": [
                candidate("tabm", 0.25, behind=0.05, behind_error=0.01),
                candidate("trees-20", 0.21, behind=0.01, behind_error=0.01),
                candidate("blend", 0.2, chosen=True),
            ],
            "refit_rows": 4000,
        },
        "steps": 1200,
        "epochs": 3,
        "stopped": "epochs",
        "history": [{"validation_loss": 0.25}],
    }
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "metadata.json").write_text(json.dumps(model))
    assert summarize({"model": str(tmp_path)}) == (
        "blend: 1,200 steps, 3 epochs (epochs), validation loss 0.2000; "
        "not exported: tabm 0.2500, trees-20 0.2100 (level); refit on 4,000 rows"
    )


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"model": {"kind": "own", "candidates": []}}, "but it marks none; correct"),
        ({"model": {"kind": "own"}}, r"metadata.json is cut short or altered \(KeyError: 'cand"),
        ({"steps": None}, "run the train step again"),
    ],
)
def test_a_document_of_another_trainer_is_a_sentence(tmp_path, changed, sentence):
    model = {"steps": 1, "epochs": 1, "stopped": "epochs", "history": [], **changed}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "metadata.json").write_text(json.dumps(model))
    with pytest.raises(ArtifactError, match=sentence):
        summarize({"model": str(tmp_path)})


def test_what_was_taken_from_the_cache_stands_before_the_key_numbers(tmp_path):
    manifest = {"sha256": "ab" * 32, "checks": ["metadata"], "cached": {"proof": "run-1"}}
    (tmp_path / "package.json").write_text(json.dumps(manifest))
    artifacts = {"package": str(tmp_path)}
    cached = taken_from_cache(artifacts)
    assert cached == {"proof": "run-1"}
    assert summarize(artifacts, cached) == (
        "proof from the cache (run run-1): sha256 abababababab, 1 check passed"
    )


def test_a_metric_without_a_value_is_left_out(tmp_path):
    values = {"auc": None, "log_loss": 0.25, "accuracy": 1.0, "brier": 0.125}
    metrics = {
        "rows": 40,
        "metrics": {name: {"value": value} for name, value in values.items()},
        "gate": {"passed": True},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert summarize({"evaluation": str(tmp_path)}) == (
        "40 test rows: log_loss 0.2500, accuracy 1.0000, brier 0.1250"
    )
