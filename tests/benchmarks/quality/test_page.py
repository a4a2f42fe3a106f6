from dataclasses import replace

from benchmarks.quality.comparisons import Comparison, Intervals
from benchmarks.quality.lines import append_line
from benchmarks.quality.page import Page
from benchmarks.quality.results import Result
from benchmarks.quality.systems import BOOSTED
from benchmarks.quality.tables import QualityTable

TABLES = (
    QualityTable("ahead", "reporting", (), "binary", "y", "random"),
    QualityTable("behind", "reporting", (), "binary", "y", "time", by="day"),
)


def _result(table: str, system: str, loss: float) -> Result:
    return Result(
        table=table,
        split=0,
        system=system,
        inputs=system,
        metrics={"log_loss": loss, "ece": 0.01, "auc": 0.8},
        cpu_s={"train": 10.0, "answer": 1.0},
        peak_mb=500,
        versions={"commit": "abcd1234"} if system == "Quatrain" else {},
        rows={"train": 6_400, "validation": 1_600, "test": 2_000},
        load=1.0,
        at="2026-12-02 05:00",
    )


def _page(tmp_path) -> str:
    losses = {"ahead": (0.30, 0.40), "behind": (0.44, 0.40)}
    latest = {}
    for table, (ours, theirs) in losses.items():
        for place, system in enumerate(BOOSTED):
            latest[table, 0, system] = _result(table, system, theirs + 0.01 * place)
        latest[table, 0, "Quatrain"] = _result(table, "Quatrain", ours)
    path = tmp_path / "intervals.jsonl"
    for table, found in ((TABLES[0], [0.25, 0.2, 0.3]), (TABLES[1], [-0.1, -0.2, -0.05])):
        one = Comparison.of(table, "LightGBM", latest)
        line = {"table": table.name, "system": "LightGBM", "key": one.key}
        append_line(path, {**line, "cut": found, "ece": [0.0, -0.1, 0.1]})
    return Page(TABLES, latest, Intervals(path)).text()


def test_a_table_shows_us_beside_the_best_of_the_trees_with_the_interval(tmp_path):
    page = _page(tmp_path)
    row = "| ahead | random | 6,400 | 0.3000 | 0.4000 LightGBM | +25.0% | +20.0% to +30.0% | win |"
    assert row in page
    assert "| behind | time | 6,400 | 0.4400 | 0.4000 LightGBM | -10.0% |" in page


def test_wins_and_losses_are_counted_and_each_loss_is_named(tmp_path):
    page = _page(tmp_path)
    assert "Of 2 tables, 2 are measured: 1 win, 0 ties, 1 loss." in page
    assert "Lost beyond chance: behind (LightGBM)." in page
    assert "| LightGBM | 2 | +7.5% | 1 | 0 | 1 | behind (LightGBM) |" in page


def test_a_goal_is_met_or_not_and_one_without_results_says_so(tmp_path):
    page = _page(tmp_path)
    goal = "| level or ahead of the best of four boosted trees | at least 80% |"
    assert f"{goal} 1 of 2 (50%) | **no** |" in page
    assert "| ahead of AutoGluon medium | at least 67% | 0 of 0 (0%) | not measured |" in page
    assert "- AutoGluon medium: not measured on 2 of 2: ahead, behind" in page
    assert "of the commits abcd1234" in page


def test_a_table_without_one_of_the_trees_is_not_counted(tmp_path):
    latest = {
        ("ahead", 0, system): _result("ahead", system, 0.4) for system in ("Quatrain", *BOOSTED[:3])
    }
    page = Page(TABLES, latest, Intervals(tmp_path / "none.jsonl")).text()
    assert "Of 2 tables, 0 are measured" in page


def _answering(tmp_path, costs: dict[tuple[str, str], dict[str, float]]) -> str:
    latest = {
        (table, 0, system): replace(_result(table, system, 0.4), cpu_s={"train": 9.0, **cost})
        for (table, system), cost in costs.items()
    }
    return Page(TABLES, latest, Intervals(tmp_path / "none.jsonl")).text()


def test_loading_and_answering_stand_beside_autogluon_medium(tmp_path):
    ours, theirs = "Quatrain", "AutoGluon medium"
    page = _answering(
        tmp_path,
        {
            ("ahead", ours): {"load": 0.25, "answer": 0.1, "again": 0.01},
            ("ahead", theirs): {"load": 0.5, "answer": 1.0, "again": 0.0},
            ("behind", ours): {"load": 0.5, "answer": 0.4, "again": 0.02},
            ("behind", theirs): {"load": 0.5, "answer": 0.2, "again": 0.04},
        },
    )
    assert "| sum over 2 tables | Quatrain | AutoGluon medium | median ratio |" in page
    assert "| loading | 0.75 | 1.00 | 0.75 |" in page
    assert "| the first answer | 0.50 | 1.20 | 1.05 |" in page
    assert "| answering again | 0.03 | 0.04 | 5.25 |" in page


def test_a_result_from_before_loading_was_measured_is_not_compared(tmp_path):
    old, new = {"answer": 1.0}, {"load": 0.2, "answer": 0.1, "again": 0.1}
    costs = {("ahead", "Quatrain"): new, ("ahead", "AutoGluon medium"): old}
    page = _answering(tmp_path, costs)
    assert "No table has both with these figures." in page
    assert "| ahead | 9 | - | - | 9 | 0.1 | - | - | 1 |" in page
