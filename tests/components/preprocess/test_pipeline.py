"""The whole step: Beam equals direct, the bytes repeat, and bad data stops it with one sentence."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam import coders
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import DataError, QuatrainError, SourceError, SpecError
from quatrain.components.preprocess import find_files, passes
from quatrain.components.preprocess.cleaning import Cleaner
from quatrain.components.preprocess.finish import finish
from quatrain.components.preprocess.job import PreprocessJob, rules_of
from quatrain.components.preprocess.output_folder import Folder
from quatrain.components.preprocess.run import preprocess
from quatrain.components.preprocess.summary.summary import RunningSummary, Summary
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.split import SPLITS
from quatrain.components.table.ranges import plan_ranges
from quatrain.trainer.features.transform import Transform
from tests.components.conftest import delays, model_of
from tests.conftest import FileEvent

Make = Callable[..., ModelSpec]
ROOT = Path(__file__).parents[3]


def run(spec: ModelSpec, out: Path, **options: Any) -> int:
    """Runs the step locally."""
    return preprocess(spec.as_json(), runner="local", out=str(out), **options)


def direct(spec: ModelSpec, out: Path, range_bytes: int | None = None) -> passes.FitResult:
    """The same work without Beam, range by range; stops at a problem."""
    ranges = plan_ranges(spec.source, spec.columns, range_bytes, spellings=spec.spellings)
    job = PreprocessJob(spec, rules_of(spec), Folder(str(out)), len(ranges))
    cleaner = Cleaner(job.rules)
    cleaned = [passes.clean_range(job, r, cleaner) for r in ranges]
    fitted = passes.fit(job, sum((total for _, total in cleaned), Summary()))
    if fitted.error is None:
        written = [passes.engineer_range(job, of, fitted) for of, _ in cleaned]
        passes.write_documents(job, fitted, written)
        finish(job.folder)
    return fitted


def rows_of(out: Path, stem: str) -> pa.Table:
    """All shards of a split, in order."""
    return pa.concat_tables([pq.read_table(p) for p in sorted(out.glob(f"{stem}-*.parquet"))])


def assert_same_rows(ours: Path, theirs: Path) -> None:
    """Compares all but the cut into files, which follows the ranges."""
    for name in ("transform.json", "statistics.json"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    for split in SPLITS:
        assert rows_of(ours, split).equals(rows_of(theirs, split))
    rejected = [rows_of(out / "rejected", "rejected") for out in (ours, theirs)]
    assert rejected[0].equals(rejected[1])
    manifests = [json.loads((out / "manifest.json").read_text()) for out in (ours, theirs)]
    for name in ("rows", "reasons", "warnings"):
        assert manifests[0][name] == manifests[1][name]


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    files = [p for p in out.rglob("*") if p.is_file()]
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def small_run(
    small_spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ModelSpec, Path]:
    """The small table, through Beam in ranges of 1000 bytes."""
    out = tmp_path_factory.mktemp("small") / "examples"
    assert run(small_spec, out, range_bytes=1000) == 400
    return small_spec, out


def test_rows_reconcile_and_every_file_has_its_digest(small_run: tuple[ModelSpec, Path]) -> None:
    spec, out = small_run
    manifest = json.loads((out / "manifest.json").read_text())
    rows = manifest["rows"]
    assert rows["read"] == rows["train"] + rows["validation"] + rows["test"] + rows["rejected"]
    assert {s: rows_of(out, s).num_rows for s in SPLITS} == {s: rows[s] for s in SPLITS}
    assert manifest["reasons"] == {
        "cancelled": {"rows": 8, "sample": "49,NA,A,NA,2"},
        "bad_value": {"rows": 1, "sample": "6,1x,A,5,1"},
    }
    assert rows["rejected"] == 9 and manifest["spec"] == spec.sha256
    assert set(manifest["files"]) == set(contents(out)) - {"manifest.json"}
    assert all(sha256_of(out / p) == digest for p, digest in manifest["files"].items())


def test_held_out_rows_hold_the_keys_by_which_kept_answers_find_them(
    small_run: tuple[ModelSpec, Path],
) -> None:
    spec, out = small_run
    assert spec.row_keys
    for split in ("validation", "test"):
        assert {f"raw_{key}" for key in spec.row_keys} <= set(rows_of(out, split).column_names)
    assert not any(name.startswith("raw_") for name in rows_of(out, "train").column_names)


def test_rejected_rows_say_where_they_stand(small_run: tuple[ModelSpec, Path]) -> None:
    spec, out = small_run
    source = Path(spec.source.uri[0]).read_bytes()
    rejected = rows_of(out / "rejected", "rejected").to_pylist()
    assert [r["reason"] for r in rejected] == ["bad_value"] + ["cancelled"] * 8
    assert rejected[0]["detail"] == "delay: '1x' is not an int"
    for row in rejected:
        end = row["position"] + len(row["row"])
        assert source[row["position"] : end + 1] == row["row"] + b"\n"


def test_shards_hold_engineered_rows_and_raw_inputs_outside_train(
    small_run: tuple[ModelSpec, Path],
) -> None:
    _, out = small_run
    engineered = ["delay", "bucket", "carrier", "label"]
    raw = ["raw_day", "raw_delay", "raw_carrier"]
    train, test = rows_of(out, "train"), rows_of(out, "test")
    assert (train.column_names, test.column_names) == (engineered, engineered + raw)
    transform = Transform.from_json((out / "transform.json").read_text())
    assert transform.label.classes == ("false", "true")
    delay = test.column("raw_delay").to_numpy().astype(float)
    carrier = test.column("raw_carrier").combine_chunks()
    engineered_rows = transform.numpy({"delay": delay, "carrier": carrier})
    for name, values in engineered_rows.items():
        assert test.column(name).to_numpy().tolist() == values.tolist()
    day = test.column("raw_day").to_pylist()
    assert set(day).isdisjoint(rows_of(out, "validation").column("raw_day").to_pylist())


@pytest.mark.parametrize("range_bytes", [111, 400, None])
def test_beam_equals_direct_for_any_range_size(
    small_run: tuple[ModelSpec, Path], tmp_path: Path, range_bytes: int | None
) -> None:
    spec, out = small_run
    direct(spec, tmp_path, range_bytes)
    assert_same_rows(tmp_path, out)


GERMAN = {"decimal": ",", "thousands": ".", "unit": "€"}


@pytest.mark.parametrize(
    ("encoding", "name", "above", "source", "arrival"),
    [
        ("utf-16", "t.csv.gz", "", {}, {}),
        ("utf-16", "t.csv", "", {}, {}),
        ("cp1252", "t.csv", "Flüge\nin 2013\n\n", {"skip_rows": 3}, {}),
        ("utf-8", "t.csv", "", {"delimiter": ";"}, GERMAN),
    ],
)
def test_an_odd_file_gives_the_same_for_any_range_size_and_number_of_workers(
    table: Callable[..., str],
    tmp_path: Path,
    encoding: str,
    name: str,
    above: str,
    source: dict[str, Any],
    arrival: dict[str, str],
) -> None:
    lines = [line.replace("B,", "Ö,") for line in delays(200).splitlines()]
    if arrival:
        rows = [line.replace(",", ";").split(";") for line in lines]
        for row in rows[1:]:
            row[3] = f"{row[3]},00 €"
        rows[9][3] = "1.2,00 €"  # a group of one digit
        lines = [";".join(row) for row in rows]
    data = (above + "\r\n".join(lines)).encode(encoding)
    uri = table(gzip.compress(data) if name.endswith(".gz") else data, name)
    read = {"source": {"uri": uri, "encoding": encoding, **source}}
    columns = model_of(uri).as_document()["columns"]
    read["columns"] = {**columns, "arrival": {"type": "float", **arrival}}
    spec = model_of(uri, **read)
    two = {"direct_num_workers": 2, "direct_running_mode": "multi_threading"}
    assert run(spec, tmp_path / "cut", range_bytes=300, runner_options=two) == 200
    for size in (61, None):
        direct(spec, tmp_path / str(size), size)
        assert_same_rows(tmp_path / str(size), tmp_path / "cut")


@pytest.mark.parametrize(
    ("workers", "mode"),
    [(1, "in_memory"), (2, None), (4, None), (8, None), (2, "multi_processing")],
)
def test_two_runs_are_equal_byte_for_byte_for_any_number_of_workers(
    small_run: tuple[ModelSpec, Path], tmp_path: Path, workers: int, mode: str | None
) -> None:
    spec, out = small_run
    options = {"direct_num_workers": workers, **({"direct_running_mode": mode} if mode else {})}
    run(spec, tmp_path / "second", range_bytes=1000, runner_options=options)
    assert contents(tmp_path / "second") == contents(out)


def test_statistics_hold_counts_moments_and_quantiles(delays_spec: Make, tmp_path: Path) -> None:
    data = "day,delay,carrier,arrival,weight\n" + "".join(
        f"{i},{i % 4},{'AAB'[i % 3]},{i % 30},1\n" for i in range(300)
    )
    direct(delays_spec(data + "300,,A,0,1\n"), tmp_path)
    train = json.loads((tmp_path / "statistics.json").read_text())["splits"]["train"]
    delay, late = train["columns"]["delay"], train["columns"]["late"]
    assert delay["count"] + delay["missing"] == train["rows"]
    assert (delay["min"], delay["quantiles"]["0"], delay["max"]) == (0.0, 0.0, 3.0)
    assert delay["mean"] == pytest.approx(
        sum(int(v["value"]) * v["count"] for v in delay["values"]) / delay["count"]
    )
    assert [v["value"] for v in late["values"]] == ["false", "true"]
    assert train["columns"]["carrier"]["top"][0]["value"] == "A"
    assert set(train["columns"]) == {"delay", "carrier", "late"}


@pytest.mark.parametrize(
    ("task", "label", "classes", "kind"),
    [
        ("multiclass", "carrier", ("A", "B"), pa.int32()),
        ("multiclass", "weight_class", ("1", "2"), pa.int32()),
        ("binary", "weight_class", ("1", "2"), pa.int32()),
        ("regression", "arrival", (), pa.float32()),
    ],
)
def test_labels_of_each_task(
    delays_spec: Make, tmp_path: Path, task: str, label: str, classes: tuple[str, ...], kind: Any
) -> None:
    features = [{"name": "delay", "from": "delay", "transform": "standardize"}]
    clean = {"derive": {"weight_class": "weight::INT"}, "max_rejected": 0.1}
    spec = delays_spec(task=task, label=label, clean=clean, features=features, weight="weight")
    fitted = direct(spec, tmp_path)
    assert fitted.error is None
    assert Transform.from_json(fitted.transform).label.classes == classes
    train = rows_of(tmp_path, "train")
    assert train.schema.field("label").type == kind
    assert train.schema.field("weight").type == pa.float32()
    if label == "weight_class":
        expected = [w - 1 for w in train.column("weight").to_pylist()]
        assert train.column("label").to_pylist() == expected


def test_columns_may_have_the_names_of_our_own(delays_spec: Make, tmp_path: Path) -> None:
    data = "split,reason,row,position,split of the row\n" + "".join(
        f"{s},{i},{i % 3},{i % 2},{i}\n" for i in range(30) for s in SPLITS
    )
    spec = delays_spec(
        data,
        columns={
            "split": "string",
            "reason": "int",
            "row": "int",
            "position": "int",
            "split of the row": "int",
        },
        clean={"reject": {"row": "reason = 7"}, "derive": {"broken_rule": "position = 1"}},
        label="broken_rule",
        split={"by": "column", "column": "split"},
        features=[
            {"name": "split", "from": "row", "transform": "standardize"},
            {"name": "row", "from": "split of the row", "transform": "standardize"},
        ],
        evaluate={"slices": ["split"]},
    )
    assert direct(spec, tmp_path).error is None
    assert rows_of(tmp_path, "test").column("raw_split").unique().to_pylist() == ["test"]
    assert rows_of(tmp_path, "train").num_rows == 29


HEADER = "day,delay,carrier,arrival,weight\n"
ONE_CLASS = HEADER + "".join(f"{i},1,A,20,1\n" for i in range(60))
NO_DELAY = HEADER + "".join(f"{i},,{'AB'[i % 2]},{i},1\n" for i in range(60))
GOOD = HEADER + "".join(f"{i},{i},{'AB'[i % 2]},{i % 30},0\n" for i in range(60))


@pytest.mark.parametrize(
    ("data", "changes", "sentence"),
    [
        (HEADER, {}, "there are no rows, only headers"),
        (
            ONE_CLASS,
            {"clean": {"derive": {"late": "arrival >= 15"}}},
            "the label 'late' has one class in the train split, 'true' in",
        ),
        (
            NO_DELAY,
            {"clean": {"derive": {"late": "arrival >= 15"}}},
            "column 'delay' is missing in all",
        ),
        (
            GOOD,
            {"task": "binary", "label": "day", "split": {"by": "hash", "keys": ["arrival"]}},
            "has 60 classes (0, 1, 2, 3, 4, ...); a binary model takes two",
        ),
        (
            GOOD,
            {
                "task": "multiclass",
                "label": "kind",
                "clean": {
                    "derive": {"kind": "CASE day WHEN 59 THEN 'C' WHEN 9 THEN 'B' ELSE 'A' END"}
                },
                "split": {"by": "fold", "column": "day", "validation": "59", "test": "58"},
            },
            "no row in the train split of 1 of its 3 classes (C): reject their rows",
        ),
        (GOOD, {"weight": "weight"}, "weight: 'weight' is 0 in every row in the train split"),
        (
            GOOD,
            {
                "weight": "counts",
                "clean": {"derive": {"late": "arrival >= 15", "counts": "day <> 7"}},
                "split": {"by": "fold", "column": "day", "validation": "7", "test": "8"},
            },
            "weight: 'counts' is 0 in every row in the validation split; correct the column",
        ),
        (
            ONE_CLASS,
            {"task": "regression", "label": "arrival"},
            "the label 'arrival' has one value in the train split",
        ),
        (
            GOOD.replace("59,59", "60,59")[: len(HEADER) + 30],
            {},
            "split has no rows (train",
        ),
    ],
)
def test_rows_that_cannot_train_a_model_are_one_sentence(
    delays_spec: Make, tmp_path: Path, data: str, changes: dict[str, Any], sentence: str
) -> None:
    fitted = direct(delays_spec(data, **changes), tmp_path)
    assert fitted.error is not None
    assert fitted.error.kind == "DataError" and sentence in fitted.error.message


@pytest.mark.parametrize("workers", [1, 8])
def test_too_many_rejected_rows_stop_the_run_with_the_three_most_frequent_reasons(
    delays_spec: Make, tmp_path: Path, workers: int
) -> None:
    bad = ["1,x,A,1,1", "2,y,A,1,1", "3,z,A,1,1", "4,NA,A,1,1", "5,NA,A,1,1", "6", "7", '8,"1']
    spec = delays_spec(GOOD + "\n".join(bad))
    options = {"direct_num_workers": workers}
    with pytest.raises(DataError) as caught:
        run(spec, tmp_path / "examples", range_bytes=100, runner_options=options)
    assert str(caught.value) == "\n".join(
        [
            "8 of 68 rows (11.8%) were rejected, more than clean.max_rejected (10.0%); "
            "the most frequent reasons:",
            "  bad_value: 3 rows (delay: 'x' is not an int), as: 1,x,A,1,1",
            "  cancelled: 2 rows (delay IS NULL), as: 4,NA,A,1,1",
            "  short_row: 2 rows (1 values for 5 columns), as: 6",
            "correct the source or the rules, or raise clean.max_rejected",
        ]
    )
    assert os.listdir(tmp_path) == ["delays.csv"]


@pytest.mark.parametrize(
    ("value", "is_hinted"),
    [("1.234,5 EUR", True), ("1,5", True), ("$12", True), ("2.5", False), ("x", False)],
)
def test_numbers_that_are_written_otherwise_have_the_keys_as_the_way_out(
    delays_spec: Make, tmp_path: Path, value: str, is_hinted: bool
) -> None:
    spec = delays_spec(GOOD + "\n".join(f'{i},"{value}",A,1,1' for i in range(9)))
    with pytest.raises(DataError) as caught:
        run(spec, tmp_path / "examples")
    hint = "if numbers are written so, declare how below columns, for example as {type: float, "
    assert (hint in str(caught.value)) == is_hinted


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_an_error_inside_a_worker_is_raised_once_and_unwrapped(
    delays_spec: Make, tmp_path: Path, workers: int
) -> None:
    derive = {"late": "arrival >= 15", "code": "carrier::INT"}
    spec = delays_spec(clean={"derive": derive})
    options = {"direct_num_workers": workers}
    with pytest.raises(QuatrainError, match=r"^\S+delays\.csv: an expression under `clean` failed"):
        run(spec, tmp_path / "examples", range_bytes=100, runner_options=options)
    assert os.listdir(tmp_path) == ["delays.csv"]


def test_a_column_of_one_value_is_a_warning(delays_spec: Make, tmp_path: Path) -> None:
    spec = delays_spec(GOOD.replace(",A,", ",B,"))
    fitted = direct(spec, tmp_path)
    assert fitted.error is None
    warning = "column 'carrier' has one value in the train split; features made of it say nothing"
    assert json.loads((tmp_path / "manifest.json").read_text())["warnings"] == [warning]
    assert json.loads((tmp_path / "statistics.json").read_text())["warnings"] == [warning]


def test_a_feature_made_of_what_makes_the_label_is_refused(
    delays_spec: Make, tmp_path: Path
) -> None:
    feature = {"name": "a", "from": "arrival", "transform": "standardize"}
    with pytest.raises(SpecError, match=r"features\[0\]: the label .* give the answer away"):
        run(delays_spec(features=[feature]), tmp_path / "examples")


def test_a_missing_column_stops_before_anything_is_read(delays_spec: Make, tmp_path: Path) -> None:
    with pytest.raises(QuatrainError, match="there is no column 'arrival'"):
        run(delays_spec("day,delay,carrier,weight\n1,1,A,1\n"), tmp_path / "examples")


def test_the_step_never_imports_tensorflow() -> None:
    code = (
        "import sys, quatrain.components.preprocess.run, quatrain.validation.sample\n"
        "sys.exit('tensorflow' in sys.modules or 'kfp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_sum_travels_packed_and_takes_more_where_it_arrives(
    small_spec: ModelSpec, tmp_path: Path
) -> None:
    ranges = plan_ranges(small_spec.source, small_spec.columns, 2000)
    job = PreprocessJob(small_spec, rules_of(small_spec), Folder(str(tmp_path)), len(ranges))
    cleaner = Cleaner(job.rules)
    first, *others = [passes.clean_range(job, span, cleaner)[1] for span in ranges]
    coder = coders.registry.get_coder(RunningSummary)
    sent = coder.encode(RunningSummary().add(first))
    assert len(sent) < len(coder.encode(first)) / 2
    arrived = coder.decode(sent)
    assert coder.encode(arrived) == sent, "who hands it on leaves it packed"
    assert passes.fit(job, arrived.add(*others).total) == passes.fit(job, sum(others, first))


def step(spec: ModelSpec, folder: Path, options: dict[str, object]) -> int:
    """The step as KFP calls it."""
    from quatrain.components.preprocess import component

    read: int = component.preprocess.python_func(
        spec.as_json(),
        runner="local",
        project="p",
        location="local",
        at="",
        digest="",
        cache_key="",
        runner_options=options,
        image="quatrain:dev",
        sample_rows=0,
        examples=SimpleNamespace(uri=str(folder / "examples")),
        gcp_resources=str(folder / "gcp_resources"),
    )
    return read


def test_the_component_runs_the_step_and_gives_the_rows_read(
    small_spec: ModelSpec, tmp_path: Path
) -> None:
    # KFP has no whole numbers.
    assert step(small_spec, tmp_path, {"direct_num_workers": 1.0}) == 400
    assert json.loads((tmp_path / "gcp_resources").read_text()) == {"resources": []}
    manifest = json.loads((tmp_path / "examples" / "manifest.json").read_text())
    assert manifest["spec"] == small_spec.sha256


def test_a_pool_elsewhere_has_its_own_processes(small_spec: ModelSpec, tmp_path: Path) -> None:
    options = {"environment_type": "EXTERNAL", "environment_config": "localhost:1"}
    with pytest.raises(SystemExit, match="error: no worker pool"):
        step(small_spec, tmp_path, {**options, "direct_num_workers": 2})


def test_the_manifest_comes_last_and_no_folder_is_renamed(
    delays_spec: Make, tmp_path: Path, file_events: list[FileEvent]
) -> None:
    run(delays_spec(), tmp_path / "examples")
    renamed = [e for e in file_events if e.name == "os.rename" and str(tmp_path) in e.path]
    assert not any(e.is_folder for e in renamed)
    assert Path(renamed[-1].path).name.startswith(".manifest.json.")
    files = [p for p in (tmp_path / "examples").rglob("*") if p.is_file()]
    assert max(files, key=lambda p: p.stat().st_mtime_ns).name == "manifest.json"
    assert not (tmp_path / "examples/.spill").exists()


def test_what_a_killed_run_left_is_removed_by_the_next_one(
    delays_spec: Make, tmp_path: Path
) -> None:
    out = tmp_path / "examples"
    (out / "rejected").mkdir(parents=True)
    (out / "rejected/cut-short.parquet").write_bytes(b"PAR1")
    run(delays_spec(), out)
    assert (out / "manifest.json").exists()
    assert not (out / "rejected/cut-short.parquet").exists()
    assert sorted(os.listdir(tmp_path)) == ["delays.csv", "examples"]


def test_files_that_are_not_those_that_were_found_are_not_read(
    delays_spec: Make, tmp_path: Path
) -> None:
    spec, out = delays_spec(), tmp_path / "examples"
    version = find_files.find(spec.as_json(), project="", at="", clocks=())
    assert run(spec, out, digest=version.digest) == 400
    os.utime(spec.source.uri[0], ns=(1, 1))
    with pytest.raises(SourceError, match=r"one was written, added or removed since; run again"):
        run(spec, tmp_path / "other", digest=version.digest)
    assert not (tmp_path / "other").exists()


class WritingRunner(FnApiRunner):
    """An engine during whose run somebody writes a file of the source."""

    path = ""

    def run_pipeline(self, *arguments: Any) -> Any:
        """Runs a pipeline, then writes the file."""
        result = super().run_pipeline(*arguments)
        os.utime(self.path, ns=(1, 1))
        return result


def test_a_file_that_is_written_while_it_is_read_leaves_no_examples(
    delays_spec: Make, tmp_path: Path
) -> None:
    spec, out = delays_spec(), tmp_path / "examples"
    WritingRunner.path = spec.source.uri[0]
    with pytest.raises(SourceError, match=r"delays.csv changed while the run read it"):
        preprocess(spec.as_json(), runner=f"{__name__}.WritingRunner", out=str(out))
    assert list(tmp_path.glob("*examples*")) == []
