from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quatrain.components import history
from quatrain.components.errors import ArtifactError, DriftFailed
from quatrain.components.preprocess.drift import check, compare
from quatrain.components.preprocess.find_files import find
from quatrain.components.preprocess.summary.statistics_document import VERSION, comparable
from quatrain.components.specification.schema import Drift, Limit, ModelSpec
from quatrain.components.specification.source import Source
from quatrain.trainer.features import Input
from quatrain.trainer.features.statistics import TableStatistics
from quatrain.validation.load import validate
from tests.emulators import storage as emulator

COLUMNS = (
    Input("size", "float"),
    Input("stops", "int"),
    Input("kind", "string"),
    Input("day", "date"),
    Input("late", "bool"),
)
LIMITS = {n: getattr(Drift(), n) for n in Drift.model_fields}


@cache
def spec(task: str = "binary", label: str = "late", name: str = "t") -> ModelSpec:
    return validate(
        {
            "name": name,
            "source": {"uri": "t.csv"},
            "columns": {i.name: i.type for i in COLUMNS},
            "label": label,
            "task": task,
            "split": {"by": "hash", "keys": ["day"]},
            "features": [{"name": "kind", "from": "kind", "transform": "vocabulary"}],
        }
    )


def sample(n: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "size": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(0, 1, n)),
        "stops": rng.poisson(2, n).astype(float),
        "kind": np.array(list("abcdefghijklmnopqrst"))[rng.zipf(1.5, n).clip(1, 20) - 1],
        "day": rng.integers(0, 90, n) * 86400.0,
        "late": (rng.random(n) < 0.2).astype(float),
    }


def statistics_of(rows: dict[str, Any], of: ModelSpec | None = None) -> dict[str, Any]:
    raw = {n: pa.array(v, pa.string()) if n == "kind" else v for n, v in rows.items()}
    columns = tuple(c for c in COLUMNS if c.name in rows)
    return comparable(TableStatistics.of(raw, len(rows["late"])), of or spec(), columns)


def compared(before: dict[str, Any], now: dict[str, Any], **limits: Limit) -> dict[str, Any]:
    """The checks by column and measure, through JSON as the files hold them."""
    tables = [json.loads(json.dumps(statistics_of(rows))) for rows in (before, now)]
    drift = compare.compare(*tables, {**LIMITS, **limits})
    return {c["column"]: {m["measure"]: m for m in c["checks"]} for c in drift["columns"]}


def verdicts(drift: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (column, measure)
        for column, checks in drift.items()
        for measure, check in checks.items()
        if check["verdict"] in ("warn", "fail")
    }


@pytest.mark.parametrize("sizes", [(60, 60), (200, 80), (1000, 5000)])
def test_another_sample_of_the_same_distribution_does_not_warn(sizes: tuple[int, int]) -> None:
    tight = {n: Limit(warn=1e-9) for n in LIMITS}  # only the noise floor is left
    drift = [
        compared(sample(sizes[0], 2 * seed), sample(sizes[1], 2 * seed + 1), **tight)
        for seed in range(15)
    ]
    assert not [v for f in drift for v in verdicts(f)]


def test_the_noise_floor_of_psi_is_not_far_above_what_chance_gives() -> None:
    drift = [compared(sample(400, 2 * s), sample(400, 2 * s + 1)) for s in range(15)]
    for column in ("size", "stops", "kind"):
        checks = [f[column]["psi"] for f in drift]
        mean = np.mean([c["value"] for c in checks])
        # The mean of a chi-squared of 6 to 12 is 1/6 to 1/4 of its quantile 4.5 deviations out.
        assert 0.1 * checks[0]["noise"] < mean < 0.4 * checks[0]["noise"]


def test_a_column_that_moved_warns_and_the_others_do_not() -> None:
    before, now = sample(2000, 0), sample(2000, 1)
    now["size"] = now["size"] * 4
    drift = compared(before, now)
    assert verdicts(drift) == {("size", "psi"), ("size", "mean"), ("size", "stddev")}
    assert drift["size"]["psi"]["sentence"].startswith("size: psi=")
    assert "is above drift.psi.warn 0.2" in drift["size"]["psi"]["sentence"]


@pytest.mark.parametrize(("n", "verdict"), [(2000, "passed"), (1100, "passed"), (900, "warn")])
def test_half_of_the_rows_is_drift_of_the_table(n: int, verdict: str) -> None:
    drift = compare.compare(statistics_of(sample(2000, 0)), statistics_of(sample(n, 1)), LIMITS)
    (check,) = drift["checks"]
    assert (check["measure"], check["verdict"]) == ("rows", verdict)
    assert check["value"] == pytest.approx(np.log(2000 / n))
    if verdict == "warn":
        told = compare.sentences({"comparisons": [{"against": ["previous"], **drift}]}, "warn")
        assert told == [
            "against the last successful run, the table: rows=0.799 is above drift.rows.warn 0.7 "
            "(2,000 before, 900 now; chance alone gives up to 0.18)"
        ]


def test_a_small_table_may_halve_by_chance() -> None:
    # 4.5 deviations of ln(20 / 9) are 4.5 sqrt(1/20 + 1/9) = 1.8.
    tables = [statistics_of(sample(n, n)) for n in (20, 9)]
    assert compare.compare(*tables, LIMITS)["checks"][0]["verdict"] == "chance"


def test_psi_is_that_of_the_textbook() -> None:
    # 60/40 against 30/70: (0.3 - 0.6) ln(0.3/0.6) + (0.7 - 0.4) ln(0.7/0.4) = 0.3758.
    before, now = sample(10_000, 0), sample(10_000, 1)
    before["kind"] = np.repeat(["a", "b"], [6000, 4000])
    now["kind"] = np.repeat(["a", "b"], [3000, 7000])
    assert compared(before, now)["kind"]["psi"]["value"] == pytest.approx(0.3758, abs=2e-4)


def test_missing_values_are_compared_by_their_share() -> None:
    before, now = sample(1000, 0), sample(1000, 1)
    before["stops"][:100] = np.nan
    now["stops"][:300] = np.nan
    check = compared(before, now, missing=Limit(warn=0.1, fail=0.15))["stops"]["missing"]
    assert check["value"] == pytest.approx(0.2)
    assert (check["before"], check["now"], check["verdict"]) == ("10.00%", "30.00%", "fail")


def test_a_column_that_is_now_missing_in_every_row_is_reported() -> None:
    before, now = sample(500, 0), sample(500, 1)
    now["size"][:] = np.nan
    assert verdicts(compared(before, now)) == {("size", "missing")}


def test_new_categories_are_named_with_their_rows() -> None:
    before, now = sample(1000, 0), sample(1000, 1)
    now["kind"] = np.concatenate([now["kind"][:900], np.repeat("new", 100)])
    check = compared(before, now)["kind"]["new"]
    assert check["value"] == pytest.approx(0.1)
    assert (check["verdict"], check["now"]) == ("warn", "'new' 100")


def test_an_identifier_has_no_new_categories_as_all_of_them_are_rare() -> None:
    before, now = sample(150, 0), sample(150, 1)
    before["kind"] = np.array([f"k{i}" for i in range(150)])
    now["kind"] = np.array([f"k{i + 150}" for i in range(150)])
    drift = compared(before, now)["kind"]
    assert drift["new"]["value"] == 1.0
    assert drift["new"]["verdict"] == "chance"
    assert drift["psi"]["value"] == pytest.approx(0.0)


def test_new_categories_are_not_reported_where_not_all_are_known() -> None:
    before, now = sample(1000, 0), sample(1000, 1)
    before["kind"] = np.array([f"k{i}" for i in range(1000)])
    drift = compare.compare(statistics_of(before), statistics_of(now), LIMITS)
    assert (
        "column 'kind' had 1,000 values, of which the 200 most frequent are known"
        in (drift["notes"][0])
    )
    checks = next(c["checks"] for c in drift["columns"] if c["column"] == "kind")
    assert [c["measure"] for c in checks] == ["missing", "psi"]


def test_the_label_of_a_classifier_is_compared_by_its_shares_alone() -> None:
    before, now = sample(4000, 0), sample(4000, 1)
    before["late"] = np.repeat([0.0, 1.0], [3200, 800])
    now["late"] = np.repeat([0.0, 1.0], [2800, 1200])
    drift = compared(before, now)["late"]
    assert list(drift) == ["label"]
    assert drift["label"]["value"] == pytest.approx(0.1)
    assert drift["label"]["now"] in ("true 30.00%", "false 70.00%")
    assert drift["label"]["verdict"] == "warn"


def test_the_label_of_a_regression_is_compared_by_its_mean() -> None:
    of = spec("regression", "size")
    before, now = sample(4000, 0), sample(4000, 1)
    now["size"] = now["size"] + 3 * np.nanstd(now["size"])
    drift = compare.compare(statistics_of(before, of), statistics_of(now, of), LIMITS)
    label = next(c for c in drift["columns"] if c["label"])
    checks = {c["measure"]: c for c in label["checks"]}
    assert set(checks) == {"label", "stddev", "psi"}
    assert checks["label"]["value"] == pytest.approx(3, rel=0.2)


def test_times_are_compared_by_their_missing_values_only() -> None:
    before, now = sample(1000, 0), sample(1000, 1)
    now["day"] = now["day"] + 365 * 86400
    assert list(compared(before, now)["day"]) == ["missing"]


def test_columns_of_one_run_alone_are_noted() -> None:
    before, now = sample(100, 0), sample(100, 1)
    del before["size"], now["stops"]
    drift = compare.compare(statistics_of(before), statistics_of(now), LIMITS)
    assert drift["notes"] == [
        "column 'size' was not used before",
        "column 'stops' is no longer used",
    ]
    assert [c["column"] for c in drift["columns"]] == ["kind", "day", "late"]


def examples(folder: Path, rows: dict[str, Any]) -> Path:
    folder.mkdir()
    statistics = json.dumps({"version": VERSION, "kept": statistics_of(rows)})
    write_statistics(folder, statistics)
    return folder


def write_statistics(folder: Path, statistics: str) -> None:
    """Writes statistics.json, and a manifest that lists it."""
    (folder / "statistics.json").write_text(statistics)
    files = {"statistics.json": hashlib.sha256(statistics.encode()).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def test_examples_without_their_manifest_are_neither_compared_nor_kept(tmp_path: Path) -> None:
    artifact = examples(tmp_path / "examples", sample(100, 0))
    (artifact / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"manifest\.json is absent"):
        check.check_drift(parameter(), str(artifact), "", tmp_path / "drift")
    with pytest.raises(ArtifactError, match=r"manifest\.json is absent"):
        history.record_run(str(tmp_path), "t", "one", "2026-11-25T00:00:00", artifact)
    assert not (tmp_path / "drift").exists()


def parameter(**limits: Any) -> str:
    return json.dumps({**spec().as_document(), "drift": limits})


def test_a_first_run_has_nothing_to_compare_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = examples(tmp_path / "examples", sample(100, 0))
    check.check_drift(parameter(), str(artifact), str(tmp_path / "runs"), tmp_path / "drift")
    drift = json.loads((tmp_path / "drift/drift.json").read_text())
    assert drift["comparisons"] == []
    assert "there is nothing to compare with" in drift["note"]
    assert drift["note"] in capsys.readouterr().out


def test_too_much_drift_stops_the_run_with_a_sentence_and_keeps_the_comparison(
    tmp_path: Path,
) -> None:
    root = str(tmp_path / "runs")
    rows = sample(1000, 0)
    history.record_run(root, "t", "one", "2026-11-25T00:00:00", examples(tmp_path / "one", rows))
    artifact = examples(tmp_path / "two", {**rows, "stops": rows["stops"] + 10})
    with pytest.raises(DriftFailed) as raised:
        check.check_drift(parameter(mean={"fail": 1.0}), str(artifact), root, tmp_path / "drift")
    assert "against the last successful run, stops: mean=" in str(raised.value)
    assert "is above drift.mean.fail 1 " in str(raised.value)
    assert "--set drift.MEASURE.fail=null" in str(raised.value)
    assert (tmp_path / "drift/drift.json").exists()
    check.check_drift(parameter(mean={"fail": None}), str(artifact), root, tmp_path / "accepted")


@pytest.mark.parametrize("name", ["manifest.json", "statistics.json"])
def test_deleted_examples_give_the_next_run_another_key_of_the_cache(
    served: emulator.Storage, tmp_path: Path, name: str
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a\n1\n")
    model = spec().model_copy(update={"source": Source(uri=(str(table),))}).as_json()

    def key(**given: str) -> str:
        return find(model, project="", at="", clocks=(), root="gs://b/root", **given).cache_key

    assert key() == ""
    artifact = examples(tmp_path / "one", sample(100, 0))
    (artifact / name).unlink()
    words = rf"{artifact} has no {name} any more.*b/root/t/statistics/lost.json notes it"
    for _ in range(2):
        with pytest.raises(ArtifactError, match=words):
            check.check_drift(model, str(artifact), "gs://b/root", tmp_path / "drift")
        assert key() == str(artifact)
    assert key(cache_key="t-1") == "t-1"


def test_the_last_run_and_a_champion_of_its_own_are_both_compared_with(tmp_path: Path) -> None:
    root = str(tmp_path / "runs")
    history.record_run(root, "t", "old", "2026-11-01", examples(tmp_path / "old", sample(500, 0)))
    champion = (tmp_path / "runs/t/statistics/champion.json").read_bytes()
    history.record_run(root, "t", "new", "2026-11-08", examples(tmp_path / "new", sample(500, 1)))
    both = history.earlier_runs(root, "t")
    now = json.loads((tmp_path / "new/statistics.json").read_text())
    drift = compare.compare_all(both, now, LIMITS)["comparisons"]
    assert [c["against"] for c in drift] == [["previous", "champion"]]
    (tmp_path / "runs/t/statistics/champion.json").write_bytes(champion)
    drift = compare.compare_all(history.earlier_runs(root, "t"), now, LIMITS)["comparisons"]
    assert [(c["against"], c["run"]) for c in drift] == [
        (["previous"], "new"),
        (["champion"], "old"),
    ]


def test_statistics_of_another_version_are_reported_and_not_compared(tmp_path: Path) -> None:
    root = str(tmp_path / "runs")
    artifact = examples(tmp_path / "one", sample(100, 0))
    history.record_run(root, "t", "one", "2026-11-25", artifact)
    past = history.earlier_runs(root, "t")
    for record in past.values():
        record["statistics"]["version"] = 1
    drift = compare.compare_all(
        past, json.loads((artifact / "statistics.json").read_text()), LIMITS
    )
    assert drift["comparisons"] == []
    assert "are of version 1, these are of 2: not compared" in drift["note"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: kept.pop("rows"),
        lambda kept: kept.update(label=None),
        lambda kept: kept.update(columns={name: {} for name in kept["columns"]}),
        lambda kept: [c.update(count="x") for c in kept["columns"].values()],
        lambda kept: [c.update(histogram={}) for c in kept["columns"].values()],
    ],
)
def test_statistics_of_another_shape_are_a_sentence(tmp_path: Path, damage: Any) -> None:
    root = str(tmp_path / "runs")
    artifact = examples(tmp_path / "one", sample(100, 0))
    history.record_run(root, "t", "one", "2026-11-25", artifact)
    past = history.earlier_runs(root, "t")
    damage(past["previous"]["statistics"]["kept"])
    with pytest.raises(
        ArtifactError, match=r"^statistics/previous\.json is cut short .* remove it"
    ):
        compare.compare_all(past, json.loads((artifact / "statistics.json").read_text()), LIMITS)


def test_in_a_bucket_a_replaced_record_is_read_at_once_and_without_a_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = examples(tmp_path / "rows", sample(100, 0))
    with emulator.serving() as storage:
        key = emulator.write_credentials(tmp_path / "key.json", storage.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", storage.url)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)  # for Google's own client
        names = storage.add_bucket("b").objects
        assert history.earlier_runs("gs://b/root", "t") == {}
        for run in ("one", "two"):
            history.record_run("gs://b/root/", "t", run, "2026-11-25", rows)
            found = history.earlier_runs("gs://b/root", "t")
            assert {role: record["run"] for role, record in found.items()} == {
                "previous": run,
                "champion": run,
            }
        assert {name for name in names if "/moves/" not in name} == {
            "root/t/statistics/previous.json",
            "root/t/statistics/champion.json",
        }


@pytest.mark.parametrize("text", ["null", "[1]", "{}", '{"run": "one"}', "[" * 100_000])
@pytest.mark.parametrize("record", [*history.ROLES, history.LOST])
def test_a_record_of_another_shape_is_named(tmp_path: Path, text: str, record: str) -> None:
    uri = Path(history.record_uri(str(tmp_path), "t", record))
    uri.parent.mkdir(parents=True)
    uri.write_text(text)
    read = history.lost_examples if record == history.LOST else history.earlier_runs
    with pytest.raises(ArtifactError, match=rf"{uri}, the .* is damaged .*; remove it to go on"):
        read(str(tmp_path), "t")


def test_damaged_statistics_are_an_error_and_a_missing_root_is_none(tmp_path: Path) -> None:
    history.record_run("", "t", "one", "2026-11-25", tmp_path / "absent")
    assert history.earlier_runs("", "t") == {}
    place = tmp_path / "runs/t/statistics"
    place.mkdir(parents=True)
    (place / "previous.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"previous\.json, the statistics of the last success"):
        history.earlier_runs(str(tmp_path / "runs"), "t")
