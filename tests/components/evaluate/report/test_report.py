from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.evaluate.gate import check_gate
from quatrain.components.evaluate.measures.metrics import METRICS, metrics_of
from quatrain.components.evaluate.report import heading, inputs, plots, report, wrong_rows
from quatrain.components.evaluate.report.report import render, show_number
from tests.components.handmade import candidate, make_metadata, make_spec, make_transform

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


def page(
    tmp_path: Path,
    task: str = "binary",
    hostile: str = "x",
    passed: bool = True,
    values: tuple[str, ...] | None = None,
    report_rows: int = 20,
    importance: Sequence[Mapping[str, Any]] = (),
    dependence: Sequence[Mapping[str, Any]] = (),
    severity: str = "serious",
    changes: dict[str, Any] | None = None,
) -> str:
    measured = {
        "task": task,
        "rows": 1500,
        "metrics": estimates(task, 0.3),
        "baseline": {
            "trivial": estimates(task, 0.6),
            "single_input": {
                "input": hostile,
                "from": ["x", hostile],
                "metrics": estimates(task, 0.5),
            },
            "inputs": [{"input": hostile, "metrics": estimates(task, 0.5)}],
        },
        "slices": [
            {"column": hostile, "value": value, "rows": n, "metrics": estimates(task, v)}
            for value, n, v in zip(
                values or (hostile,) * 3, (900, 590, 10), (0.35, 0.1, 0.2), strict=True
            )
        ],
        "champion": None,
        "opponent": {"why": "there is no sample"},
        "skew": {
            "rows": 1500,
            "max_difference": 0.0 if passed else 0.5,
            "row": 3,
            "inputs": {hostile: hostile},
            "column": hostile,
        },
        "curves": curves(task),
        "worst_rows": [wrong_row(task, hostile)],
        "importance": importance or [importance_of(hostile, 0.2)],
        "importance_basis": {
            "loss": "rmse" if task == "regression" else "log_loss",
            "rows": 1500,
            "permutations": 5,
            "inputs_left_out": 3,
        },
        "dependence": dependence or [],
    }
    metrics = {
        **measured,
        "name": "made-up",
        "label": hostile,
        "classes": [] if task == "regression" else ["no", hostile],
        "weight": None,
        "gate": check_gate(measured, {}, 1e-4),
        "warnings": [{"kind": "drift", "severity": severity, "sentence": hostile}],
        "run": {
            "id": hostile,
            "created": "2026-12-01T10:00:00Z",
            "code": {"quatrain": "0.2.0", "trainer": "3" * 64, "pipeline": "4" * 64},
            "data": {"uri": [hostile], "files": 2, "digest": "5" * 64, "days": hostile},
            "rows": {},
        },
        "changes": changes or {"run": "", "made": "", "why": hostile},
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
    audit = [
        {"check": "keys", "verdict": "passed", "sentence": "no key stands in two splits"},
        {"check": "predictors", "verdict": "finding", "sentence": hostile},
    ]
    return render(
        metrics,
        manifest,
        model,
        {**json.loads(make_spec(report_rows=report_rows)), "name": hostile},
        audit=audit,
        drift=drift_from(hostile),
    )


def importance_of(name: str, rise: float | None, half: float = 0.1) -> dict[str, Any]:
    """An entry of `importance`, with an interval of this half width."""
    low, high = (None, None) if rise is None else (rise - half, rise + half)
    return {"input": name, "rise": rise, "low": low, "high": high}


def wrong_row(task: str, hostile: str) -> dict[str, Any]:
    """A row as metrics.json quotes it, with more values than a line shows."""
    values = {hostile: hostile, "time": None, **{f"x{k}": float(k) for k in range(10)}}
    row = {"row": 1234, "loss": 9.0, "values": values}
    if task == "regression":
        return {**row, "label": 2.0, "prediction": -1.25, "probability": None}
    return {**row, "label": hostile, "prediction": "no", "probability": 0.000123}


def drift_from(hostile: str) -> dict[str, Any]:
    """One comparison: a number that moved too far, a category that chance moved, the label."""

    def check(measure: str, value: float, verdict: str) -> dict[str, Any]:
        texts = {"before": hostile, "now": hostile, "sentence": f"{measure} {hostile}"}
        return {"measure": measure, "value": value, "noise": 0.01, "verdict": verdict, **texts}

    bins = [{"bin": hostile, "before": 0.25, "now": 0.75}, {"bin": "b", "before": 0.75, "now": 0.0}]
    columns = [
        ("calm", False, [check("psi", 0.05, "passed"), check("new", 0.0, "passed")]),
        ("lucky", False, [check("psi", 0.4, "chance"), check("new", 0.3, "chance")]),
        ("moved", False, [check("psi", 0.3, "warn"), check("mean", 2.0, "passed")]),
        (hostile, True, [check("label", 0.1, "passed")]),
    ]
    compared = {
        "against": ["previous", "champion"],
        "run": hostile,
        "made": "2026-11-25T10:00:00Z",
        "rows": {"before": 900, "now": 1000},
        "checks": [{**check("rows", 0.8, "warn"), "before": "900", "now": "1,000"}],
        "notes": [hostile],
        "columns": [
            {"column": name, "label": label, "checks": checks, "bins": bins}
            for name, label, checks in columns
        ],
    }
    return {"version": 1, "note": "", "comparisons": [compared]}


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


def test_marks_that_turn_or_end_text_are_written_out(tmp_path: Path) -> None:
    drawn = page(tmp_path, "binary", "\u202eno\x1b[2J\u2066\x07")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", drawn)
    assert r"\u202eno\x1b[2J\u2066\x07" in drawn


def test_findings_of_the_audit_come_first(tmp_path: Path) -> None:
    section = page(tmp_path).split("<h2>Leakage audit</h2>")[1].split("<h2>")[0]
    assert section.index("Inputs that give the label away") < section.index("no key stands in two")
    assert section.count('class="failed"') == section.count('class="passed"') == 1


def test_columns_that_moved_come_first_and_are_drawn_with_the_label(tmp_path: Path) -> None:
    section = page(tmp_path).split("<h2>Drift</h2>")[1].split("<h2>")[0]
    names = re.findall(r"<tr><th>(\w+)", section)
    assert names[1:] == ["moved", "lucky", "x", "calm"]  # after the table's head
    assert re.findall(r"<h3>(\w+): before and now", section) == ["moved", "x"]
    table = section.split("<table")[1]
    assert table.count('<span class="mark bad">warn</span>') == 1
    assert section.count('<span class="mark dim">chance</span>') == 2


def test_a_changed_number_of_rows_is_marked(tmp_path: Path) -> None:
    section = page(tmp_path).split("<h2>Drift</h2>")[1].split("<h2>")[0]
    assert '900 rows then, 1,000 now <span class="mark bad">warn</span>' in section


def test_bars_are_as_long_as_their_shares() -> None:
    svg = plots.before_and_now([{"bin": "a", "before": 0.2, "now": 0.4}])
    before, now = (float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', svg))
    assert now == pytest.approx(2 * before)
    assert "a: 20.00% before, 40.00% now" in svg
    assert plots.before_and_now_small([]) == ""


def test_the_report_needs_nothing_from_the_network(tmp_path: Path) -> None:
    text = page(tmp_path)
    tags = Tags(close_void(text))
    assert not [v for n, v in tags.attributes if n in {"src", "href", "xlink:href", "srcset"}]
    assert not re.search(r"url\(|@import|https?://", text)
    assert len(text) < 400_000


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_on_a_phone_each_table_scrolls_alone(task: str, tmp_path: Path) -> None:
    text = page(tmp_path, task)
    tables = text.count("<table")
    assert tables >= 5
    assert len(re.findall(r'<div class="scroll"[^>]*><table[^>]*>', text)) == tables
    assert text.count("</table></div>") == tables
    assert ".scroll { overflow-x: auto; }" in text


def test_the_verdict_comes_first_with_its_sentences(tmp_path: Path) -> None:
    text = page(tmp_path, passed=False)
    verdict = text.index("The model failed the gate and was not promoted")
    assert verdict < text.index("skew=0.5 on 1,500 test rows") < text.index("How good the model is")


@pytest.mark.parametrize(
    ("name", "model", "baseline", "ahead"),
    [
        ("auc", 0.7, 0.8, True),
        ("auc", 0.8, 0.8, False),
        ("log_loss", 0.7, 0.6, True),
        ("log_loss", 0.6, 0.7, False),
        ("mean_error", 0.5, -0.4, True),
        ("mean_error", 0.5, -0.6, False),
        ("auc", None, 0.5, False),
    ],
)
def test_a_baseline_ahead_of_the_model_is_marked(
    name: str, model: float | None, baseline: float, ahead: bool
) -> None:
    metric = next(m for ms in METRICS.values() for m in ms if m.name == name)
    row = report.MetricRow(metric, {"value": model, "low": 0.5, "high": 0.7}, [baseline, None], [])
    assert row.is_ahead(baseline) is ahead
    assert row.is_ahead(None) is False
    assert row.is_near(baseline) is (0.5 <= baseline <= 0.7)


def test_the_page_marks_what_is_ahead_of_the_model(tmp_path: Path) -> None:
    html = page(tmp_path)
    assert html.count('title="better than the model">ahead</span>') > 0
    assert html.count("<b>ahead</b>: better than the model on these rows.") == 1


def test_the_row_counts_reconcile_on_the_page(tmp_path: Path) -> None:
    expected = "11,620 rows read = 9,000 train + 1,000 validation + 1,500 test + 120 rejected."
    assert expected in page(tmp_path)


def test_only_a_large_and_surely_worse_slice_is_called_worse(tmp_path: Path) -> None:
    text = page(tmp_path)
    # AUC 0.3 over all rows: 0.1 +- 0.01 on 590 rows is worse, 0.2 on 10 rows has too few rows.
    assert text.count('<span class="mark bad">worse</span>') == 1
    assert text.count('<span class="mark dim">few rows</span>') == 1


def test_numbers_are_shown_to_a_useful_digit() -> None:
    shown = [show_number(v) for v in (None, 0.0, 0.89123, -12.5, 1234.56, 0.00001234)]
    assert shown == ["\N{EN DASH}", "0.0000", "0.8912", "-12.5000", "1,234.6", "1.23e-05"]


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ((125.6, 91.8733, 81.1637, 102.6), ["125.6", "91.9", "81.2", "102.6"]),
        ((125.6, 0.0412, None, 0.0), ["125.6000", "0.0412", "\N{EN DASH}", "0.0000"]),
        ((12.5, 99.9, 0.0), ["12.5000", "99.9000", "0.0000"]),
        ((1234.5, 2e9, 0.0), ["1,234.5", "2e+09", "0.0"]),
    ],
)
def test_the_numbers_of_a_row_have_as_many_decimals(
    row: tuple[float | None, ...], shown: list[str]
) -> None:
    assert [show_number(v, None, row) for v in row] == shown


def test_ticks_are_round_numbers_inside_the_range() -> None:
    assert [t for _, t in plots.ticks(0, 1)] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [t for _, t in plots.ticks(0.19, 1.23)] == ["0.25", "0.50", "0.75", "1.00"]
    assert [t for _, t in plots.ticks(1, 3, whole=True)] == ["1", "2", "3"]


def test_a_plot_escapes_its_texts() -> None:
    drawn = plots.Axes((0, 1), (0, 1), HOSTILE, HOSTILE).draw([], HOSTILE)
    assert "<script" not in drawn


def test_a_vanishing_score_is_zero_and_a_vanishing_loss_is_shown() -> None:
    r2, rmse = (next(m for m in METRICS["regression"] if m.name == n) for n in ("r2", "rmse"))
    assert show_number(-1.23e-06, r2) == "0.0000"
    assert show_number(-1.23e-06, rmse) == "-1.23e-06"


def words_of(html: str) -> str:
    """The text of a page, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_page_names_the_run_its_code_and_its_data(tmp_path: Path) -> None:
    text = words_of(page(tmp_path, hostile="made-up"))
    assert "Run made-up, created 2026-12-01 10:00 UTC" in text
    assert "Code Quatrain 0.2.0, trainer 333333333333 , pipeline 444444444444" in text
    assert "Data made-up : 2 files, 11,620 rows, days made-up, digest 555555555555" in text


def test_a_passed_gate_with_a_serious_warning_is_not_plain_green(tmp_path: Path) -> None:
    for severity, state in (("serious", "warned"), ("minor", "passed")):
        html = page(tmp_path, severity=severity)
        assert f'<section class="card verdict {state}">' in html
        assert "The model passed the gate, with 1 warning</strong>" in html
        assert "<title>made-up: passed, with 1 warning" in html
    failed = page(tmp_path, passed=False)
    assert "The model failed the gate and was not promoted, with 1 warning" in failed


def test_many_warnings_of_the_verdict_unfold() -> None:
    warnings = [{"kind": "drift", "severity": "minor", "sentence": str(n)} for n in range(15)]
    box = heading.verdict({"gate": {"passed": True, "checks": []}, "warnings": warnings})
    assert (box.words, len(box.warnings), len(box.more)) == ("passed, with 15 warnings", 8, 7)


def test_a_check_that_warns_is_not_listed_as_passed_too() -> None:
    checks = [{"passed": True, "sentence": s} for s in ("worse than the champion", "no skew")]
    warnings = [{"kind": "gate", "severity": "serious", "sentence": "worse than the champion"}]
    box = heading.verdict({"gate": {"passed": True, "checks": checks}, "warnings": warnings})
    assert box.checks == {False: [], True: ["no skew"]}


def test_the_page_shows_what_has_changed_since_the_last_run(tmp_path: Path) -> None:
    changes = {section: [] for section in ("rows", "data", "code")}
    changes |= {"run": "one", "made": "2026-11-30T10:00:00Z", "why": ""}
    spec = [{"what": f"columns.c{n}", "before": None, "now": "int"} for n in range(25)]
    metrics = [{"what": "auc", "before": 0.25, "now": 0.3}]
    html = page(tmp_path, changes={**changes, "spec": spec, "metrics": metrics})
    section = html.split("<h3>Since the last run</h3>")[1].split("</section>")[0]
    assert "Compared with one, created 2026-11-30 10:00 UTC." in words_of(section)
    assert section.count("<li>columns.c") == 25
    assert "<summary>17 more</summary>" in section
    assert "AUC 0.2500 → 0.3000" in words_of(section)
    same = page(tmp_path, changes={**changes, "spec": [], "metrics": []})
    assert "Nothing has changed." in same


def test_the_page_says_what_the_model_consists_of(tmp_path: Path) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", page(tmp_path)).split())
    assert "Model blend of 75.0% tabm and 25.0% trees Candidates tabm: validation loss" in text
    assert "0.6000, 30 steps, 1.5 s, behind by 0.01 ± 0.0078; trees: validation loss" in text
    assert "0.6200, 50 rounds, 1.5 s, behind by 0.03 ± 0.039, which may be chance; blend" in text
    assert "0.5900, 80 steps, 1.5 s, exported Refit on 750 rows, those of train and" in text


def test_the_learning_curve_says_what_it_is_of(tmp_path: Path) -> None:
    html = page(tmp_path)
    assert "<h3>Learning curve of the network</h3>" in html
    assert (
        "Mean log-loss of the network by epoch; lower is better. The ring marks the epoch that "
        "was kept. The network has 75.0% of the blend, which itself reached 0.5900 on the "
        "validation rows." in html
    )
    assert ">mean log-loss</text>" in html
    assert ">mean squared error</text>" in page(tmp_path, "regression")


@pytest.mark.parametrize(
    ("described", "title", "words"),
    [
        ({"trees": 1.0}, "Learning curve of the trees", "by epoch (ten rounds);"),
        ({"own": 1.0}, "Learning curve", "The model itself reached 0.6000 on the validation rows."),
        (None, "Learning curve", "The ring marks the epoch that was kept."),
    ],
)
def test_a_learning_curve_of_another_model_has_its_name(
    described: dict[str, float] | None, title: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "transform.json").write_text(make_transform().to_json())
    model = make_metadata(tmp_path, "binary")
    del model["model"]
    if described:
        kind = next(iter(described))
        model["model"] = {
            "kind": kind,
            "shares": described,
            "candidates": [candidate(kind, 0.6, chosen=True)],
        }
    shown, _, caption = report._learning_curve(model)
    assert (shown, words in caption) == (title, True)


def test_a_long_list_of_sources_is_cut() -> None:
    uris = ["a.csv", "b.csv", "c.csv", "d.csv", "e.csv"]
    assert report._source(uris) == "a.csv, b.csv, c.csv and 2 more"


def test_the_other_values_of_a_slice_are_explained(tmp_path: Path) -> None:
    words = "is not among its 20 most frequent values"
    assert words not in page(tmp_path)
    assert words in page(tmp_path, values=("a", "b", "(other)"))


def test_a_wrong_row_shows_its_gap_and_unfolds_its_other_values(tmp_path: Path) -> None:
    binary, number = (
        page(tmp_path, task).split("<h2>Where it is most wrong</h2>")[1].split("<h2>")[0]
        for task in ("binary", "regression")
    )
    assert '<td>1,234</td><th>x</th><td>no</td><td class="n value">0.012%</td>' in binary
    assert '<th>2</th><td>-1.25</td><td class="n value">-3.25</td>' in number
    assert "<i>time</i> (missing)" in binary
    assert binary.index("<i>x5</i> 5") < binary.index("<summary>4 more</summary>")
    assert binary.index("<summary>4 more</summary>") < binary.index("<i>x6</i> 6")


def section_of(text: str, title: str) -> str:
    return text.split(f"<h2>{title}</h2>")[1].split("<h2>")[0]


def test_inputs_are_marked_whose_interval_includes_0(tmp_path: Path) -> None:
    entries = [
        importance_of("strong", 0.3),
        importance_of("weak", 0.05),
        importance_of("wrong", -0.3),
        importance_of("refused", None),
    ]
    section = section_of(page(tmp_path, importance=entries), "Which inputs matter")
    effects = re.findall(r'<li class="(\w+)"><span class="name">(\w+)', section)
    assert effects == [
        ("seen", "strong"),
        ("none", "weak"),
        ("worse", "wrong"),
        ("unknown", "refused"),
    ]
    assert section.count("no effect seen") == section.count("better shuffled") == 1
    assert "0.2000&nbsp;\N{EN DASH} 0.4000" in section
    assert "3 inputs that predict least alone are left out." in section


def test_bars_of_importance_share_one_scale_with_its_zero() -> None:
    entries = [importance_of("a", 0.3), importance_of("b", 0.0), importance_of("c", -0.1, 0.0)]
    (a, b, c), zero = inputs.lines(entries)  # the scale goes from -0.1 to 0.4
    assert zero == pytest.approx(20)
    assert a.bar == pytest.approx((20, 60))
    assert a.whisker == pytest.approx((60, 40))
    assert (b.bar, b.whisker) == (pytest.approx((20, 0)), pytest.approx((0, 40)))
    assert c.bar == pytest.approx((0, 20))


def test_a_rise_that_vanishes_beside_the_others_is_shown_as_zero() -> None:
    (_, noise), _ = inputs.lines([importance_of("a", 0.3), importance_of("b", -3.42e-5, 0.0)])
    assert [show_number(v) for v in (noise.rise, noise.low)] == ["0.0000", "0.0000"]
    (small,), _ = inputs.lines([importance_of("a", 3.42e-5, 0.0)])
    assert show_number(small.rise) == "3.42e-05"


def test_the_inputs_that_matter_most_come_first_in_a_wrong_row(tmp_path: Path) -> None:
    entries = [importance_of("x9", 0.3), importance_of("x7", 0.05)]
    section = section_of(page(tmp_path, importance=entries), "Where it is most wrong")
    names = re.findall(r"<i>(\w+)</i>", section)
    assert names == ["x9", "x", "time", *(f"x{k}" for k in range(9))]


def test_a_wrong_row_of_thousands_of_columns_stays_short() -> None:
    row = {**wrong_row("binary", "x"), "values": {f"c{k}": k for k in range(3000)}}
    line = wrong_rows.line(row, ["c2999"])
    assert line.first[0] == ("c2999", "2999")
    assert len(line.first) + len(line.others) + line.n_unlisted == 3000
    assert len(line.others) == wrong_rows.MAX_OTHERS


def test_rejected_rows_and_skewed_ones_are_quoted_only_if_rows_may_be(tmp_path: Path) -> None:
    samples = 'title="a sample row"', "Its raw inputs:"
    quoted, silent = (page(tmp_path, passed=False, report_rows=n) for n in (1, 0))
    assert all(sample in quoted for sample in samples)
    assert not any(sample in silent for sample in samples)


def slices_of(*rows_and_values: tuple[int, float]) -> dict[str, Any]:
    return {
        "task": "binary",
        "metrics": {"auc": {"value": 0.5}},
        "slices": [
            {"column": "hour", "value": str(k), "rows": n, "metrics": estimates("binary", v)}
            for k, (n, v) in enumerate(rows_and_values)
        ],
    }


def dots(metrics: dict[str, Any]) -> list[float]:
    ((_, rows),) = report._slices(metrics)
    return [float(re.findall(r'cx="([\d.]+)"', row.interval)[0]) for row in rows]


def test_intervals_of_small_slices_alone_have_a_scale_of_their_own() -> None:
    # AUC 0.3 to 0.7 with margins of 0.01 and 8 %: the outer dots near the ends of 4 .. 156.
    low, middle, high = dots(slices_of((99, 0.3), (98, 0.5), (3, 0.7)))
    assert (low, middle, high) == pytest.approx((17.8, 80.0, 142.2), abs=0.5)


def test_one_small_slice_does_not_squeeze_the_large_ones() -> None:
    # The scale is of 0.49 .. 0.61 and 8 %; the small slice stands at its end.
    one, other, small = dots(slices_of((900, 0.5), (900, 0.6), (9, 0.95)))
    assert other - one > 100
    assert small == 156.0


def test_a_dot_beyond_the_scale_shows_its_value() -> None:
    ((_, rows),) = report._slices(slices_of((900, 0.5), (900, 0.6), (9, 0.95)))
    assert 'class="dot model beyond"' in rows[-1].interval
    assert "<title>0.9500</title>" in rows[-1].interval


@pytest.mark.parametrize("high", [1.0, 20_000.0, 9e6])
def test_the_title_of_the_y_axis_stands_clear_of_its_numbers(high: float) -> None:
    axes = plots.Axes((0, 1), (0, high), "label", "prediction")
    widest = max(len(text) for _, text in plots.ticks(0, high))
    assert axes.left - 7 - 8 * widest >= 15  # the title's line is at 12, with 3 of descenders


@pytest.mark.parametrize("point", [(0.0, 0.0), (0.01, 0.05), (0.3, 0.6), (0.9, 0.97), (1.0, 1.0)])
def test_the_note_at_a_point_of_the_roc_stays_inside(point: tuple[float, float]) -> None:
    x, y = plots._beside(*point)
    assert y >= 0.03
    assert x + 0.24 <= 1.0
