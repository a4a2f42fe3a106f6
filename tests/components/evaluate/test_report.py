from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from components.evaluate import plots
from components.evaluate.gate import check_gate
from components.evaluate.metrics import metrics_of
from components.evaluate.report import render, show_number
from tests.components.evaluate.handmade import make_metadata, make_spec, make_transform

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
NUMBERS = {
    "binary": metrics_of("binary"),
    "regression": metrics_of("regression"),
}


def estimates(task: str, value: float) -> dict[str, Any]:
    return {n: {"value": value, "low": value - 0.01, "high": value + 0.01} for n in NUMBERS[task]}


def curves(task: str) -> dict[str, Any]:
    if task == "regression":
        return {
            "residuals": {"width": 0.5, "counts": [0.0, *range(80), 1.0]},
            "grid": {"low": 0.0, "high": 4.0, "counts": [[1.0, 0.0], [0.0, 3.0]]},
        }
    bins = {"score": 0.4, "rate": 0.5, "share": 1.0, "low": 0.3, "high": 0.7}
    rates = ((1.0, 0.0, 0.0), (0.5, 0.2, 0.7), (0.0, 1.0, 1.0))
    keys = ("threshold", "false_positive_rate", "true_positive_rate")
    return {
        "calibration": [bins],
        "confusion": [[5.0, 1.0], [2.0, 7.0]],
        "roc": [dict(zip(keys, r, strict=True)) for r in rates],
    }


def page(tmp_path: Path, task: str = "binary", hostile: str = "x", passed: bool = True) -> str:
    measured = {
        "task": task,
        "rows": 1500,
        "metrics": estimates(task, 0.3),
        "baseline": {
            "trivial": estimates(task, 0.6),
            "single_input": {"input": hostile, "metrics": estimates(task, 0.5)},
            "inputs": [{"input": hostile, "metrics": estimates(task, 0.5)}],
        },
        "slices": [
            {"column": hostile, "value": hostile, "rows": n, "metrics": estimates(task, v)}
            for n, v in ((900, 0.35), (590, 0.1), (10, 0.2))
        ],
        "skew": {
            "rows": 1500,
            "max_difference": 0.0 if passed else 0.5,
            "row": 3,
            "inputs": {hostile: hostile},
            "column": hostile,
        },
        "curves": curves(task),
    }
    metrics = {
        **measured,
        "name": "made-up",
        "label": hostile,
        "classes": [] if task == "regression" else ["no", hostile],
        "weight": None,
        "gate": check_gate(measured, {}, 1e-4),
        "made_by": {"spec": "1" * 64, "transform": "2" * 64, "package": "3" * 64},
    }
    metrics["skew"]["tolerance"] = 1e-4
    (tmp_path / "transform.json").write_text(make_transform().to_json())
    model = make_metadata(tmp_path, task)
    manifest = {
        "rows": {
            "read": 11_620,
            "train": 9_000,
            "validation": 1_000,
            "test": 1_500,
            "rejected": 120,
        },
        "reasons": {hostile: {"rows": 120, "sample": hostile * 100}},
        "warnings": [hostile],
    }
    return render(metrics, manifest, model, {**make_spec(), "name": hostile})


class Tags(HTMLParser):
    """Collects tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            raise AssertionError(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def close_void(text: str) -> str:
    return re.sub(r"<(path|polyline|polygon|circle|rect)([^>]*)/>", r"<\1\2></\1>", text)


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("passed", [True, False])
def test_hostile_values_stay_text(task: str, passed: bool, tmp_path: Path) -> None:
    tags = Tags(close_void(page(tmp_path, task, HOSTILE, passed)))
    assert not {"script", "img", "iframe", "link", "object"} & set(tags.tags)
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert not tags.open
    assert HOSTILE in "".join(tags.text)


def test_the_report_asks_nothing_of_the_network(tmp_path: Path) -> None:
    text = page(tmp_path)
    tags = Tags(close_void(text))
    assert not [v for n, v in tags.attributes if n in {"src", "href", "xlink:href", "srcset"}]
    assert not re.search(r"url\(|@import|https?://", text)
    assert len(text) < 400_000


def test_the_verdict_comes_first_with_its_sentences(tmp_path: Path) -> None:
    text = page(tmp_path, passed=False)
    verdict = text.index("The model failed the gate and was not promoted")
    assert verdict < text.index("skew=0.5 on 1,500 test rows") < text.index("How good it is")


def test_the_row_counts_reconcile_on_the_page(tmp_path: Path) -> None:
    expected = "11,620 rows read = 9,000 train + 1,000 validation + 1,500 test + 120 rejected."
    assert expected in page(tmp_path)


def test_only_a_large_and_surely_worse_slice_is_called_worse(tmp_path: Path) -> None:
    text = page(tmp_path)
    # AUC 0.3 over all rows: 0.1 +- 0.01 on 590 rows is worse, 0.2 on 10 rows cannot be told.
    assert text.count('<span class="mark bad">worse</span>') == 1
    assert text.count('<span class="mark dim">few rows</span>') == 1


def test_numbers_are_shown_to_a_useful_digit() -> None:
    shown = [show_number(v) for v in (None, 0.0, 0.89123, -12.5, 1234.56, 0.00001234)]
    assert shown == ["\N{EN DASH}", "0.0000", "0.8912", "-12.5000", "1,234.6", "1.23e-05"]


def test_ticks_are_round_numbers_inside_the_range() -> None:
    assert [t for _, t in plots.ticks(0, 1)] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [t for _, t in plots.ticks(0.19, 1.23)] == ["0.25", "0.50", "0.75", "1.00"]
    assert [t for _, t in plots.ticks(1, 3, whole=True)] == ["1", "2", "3"]


def test_a_plot_escapes_its_texts() -> None:
    drawn = plots.Axes((0, 1), (0, 1), HOSTILE, HOSTILE).draw([], HOSTILE)
    assert "<script" not in drawn
