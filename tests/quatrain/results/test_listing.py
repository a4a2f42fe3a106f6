"""`quatrain list` on folders here: every run as what it is, whatever else lies there."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from pathlib import Path

import pytest

from quatrain.cli import main
from quatrain.results.listing import list_models, list_runs, open_root
from quatrain.terminal.run_table import run_table
from tests.quatrain.results.made_runs import put_folder, put_here

FIRST, SECOND = "20261123T060000-000001", "20261130T060000-000002"
OLD = Path(__file__).parents[2] / "fixtures/root-0.1.0/root"


@pytest.fixture
def printed(capsys):
    """Calls the command line, and returns its exit code, output and errors."""

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out = capsys.readouterr()
        return ended.value.code or 0, out.out, out.err

    return call


def gone_pid():
    """The id of a process that has ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def table_of(root, width):
    """The table of `quatrain list m`, in UTC and as in 2026."""
    runs = [run.as_document() for run in list_runs(open_root(str(root)), "m").runs]
    return run_table(runs, width, datetime.UTC, year=2026)


def test_a_line_shows_when_rows_metric_verdict_changes_and_time(tmp_path):
    put_here(tmp_path, FIRST, "2026-11-23T06:00:00+00:00", auc=0.75)
    changes = {"spec": [{"what": "train.epochs", "before": 5, "now": 10}]}
    changes["rows"] = [{"what": "read", "before": 800, "now": 900}]
    changes["code"] = [{"what": "trainer", "before": "a", "now": "b"}]
    second = "2026-11-30T06:00:00+00:00"
    put_here(tmp_path, SECOND, second, changes=changes, warnings=["x", "y"])
    (tmp_path / "m/statistics/champion.json").write_text(json.dumps({"run": SECOND}))
    assert table_of(tmp_path, 110) == [
        "run               when              rows  auc             verdict         changed"
        "            wall  CPU s",
        "20261130T060000*  Mon 30 Nov 06:00  900   0.8500 ±0.0200  passed, 2 warn  "
        "spec,trainer,rows  33 s  28",
        "20261123T060000   Mon 23 Nov 06:00  900   0.7500 ±0.0200  failed: auc     "
        "                   33 s  28",
    ]


def test_lines_fit_the_terminal(tmp_path):
    spec = [{"what": f"columns.c{n}", "before": 1, "now": 2} for n in range(9)]
    spec += [{"what": "train.epochs", "before": 1, "now": 2}]
    code = [{"what": what, "before": 1, "now": 2} for what in ("trainer", "kfp")]
    changes = {"spec": spec, "rows": [{}], "code": code}
    rows = {"read": 336_776}
    for run in (FIRST, SECOND):
        started = "2026-11-30T06:00:00+00:00"
        put_here(tmp_path, run, started, changes=changes, rows=rows, warnings=["x"] * 12)
    lines = table_of(tmp_path, 100)
    assert "passed, 12 warn  columns,s…  33 s" in lines[1]
    assert max(map(len, lines)) == 100
    assert "columns,spec,trainer,code,rows" in table_of(tmp_path, 160)[1]


def test_the_year_of_a_time_is_shown_unless_it_is_this_one(tmp_path):
    put_here(tmp_path, FIRST, "2025-11-23T06:00:00+00:00")
    assert "Sun 23 Nov 2025 06:00" in table_of(tmp_path, 100)[1]


def test_a_run_that_was_not_measured_shows_what_became_of_it(tmp_path, printed):
    started = "2026-11-30T06:00:00+00:00"
    put_folder(tmp_path, "20261130T060000-000001", started, status="running")
    put_folder(tmp_path, "20261130T060000-000002", started, status="running", pid=gone_pid())
    error = "step train failed: no memory"
    put_folder(tmp_path, "20261130T060000-000003", started, status="failed", error=error)
    error = "interrupted by SIGTERM"
    put_folder(tmp_path, "20261130T060000-000004", started, status="failed", error=error)
    _, out, _ = printed("list", "m", "--root", tmp_path)
    cells = [line.split("  ")[2] for line in out.splitlines()[1:]]
    assert cells == ["interrupted", "failed in train", "killed", "running"]


def test_an_id_is_cut_only_while_it_names_one_run(tmp_path, printed):
    started = "2026-11-30T06:00:00+00:00"
    put_folder(tmp_path, "20261130T060000-000001", started)
    put_folder(tmp_path, "20261130T060000-000002", started)
    put_folder(tmp_path, "20261130T070000-000002", started)
    _, out, _ = printed("list", "m", "--root", tmp_path)
    ids = [line.split()[0] for line in out.splitlines()[1:]]
    assert ids == ["20261130T070000", "20261130T060000-000002", "20261130T060000-000001"]


def test_whatever_lies_in_the_folder_the_other_runs_are_listed(tmp_path, printed):
    put_here(tmp_path, FIRST, "2026-11-23T06:00:00+00:00")
    model = tmp_path / "m"
    put_folder(tmp_path, "cut", "").joinpath("run.json").write_text('{"id": "c')
    put_folder(tmp_path, "other", "").joinpath("run.json").write_text("[1]")
    put_folder(tmp_path, "deep", "").joinpath("run.json").write_text("[" * 100_000)
    put_folder(tmp_path, "late", "yesterday", status="running")
    (put_folder(tmp_path, "folder", "") / "run.json").unlink()
    (model / "folder/run.json").mkdir()
    (model / "empty").mkdir()
    (model / "notes.txt").write_text("mine")
    (model / "statistics/runs/strange.json").write_text("{}")
    (model / "latest").symlink_to(FIRST)
    (model / "loop").symlink_to(model)
    (model / "gone").symlink_to(tmp_path / "nowhere")
    (model / "a\x1bb").mkdir()
    code, out, err = printed("list", "m", "--root", tmp_path)
    assert code == 0
    lines = out.splitlines()
    assert len([line for line in lines if "damaged" in line]) == 5
    assert len([line for line in lines if "0.8500" in line]) == 1
    named = {line.split("/m/")[1].split("/")[0] for line in err.splitlines()}
    assert named == {"cut", "other", "deep", "late", "folder"}


def test_a_damaged_record_is_named_and_its_run_listed_without_metrics(tmp_path, printed):
    put_here(tmp_path, FIRST, "2026-11-23T06:00:00+00:00")
    path = tmp_path / f"m/statistics/runs/{FIRST}.json"
    path.write_text(path.read_text()[:200])
    _, out, err = printed("list", "m", "--root", tmp_path)
    assert "  succeeded  33 s" in out
    assert err.startswith(f"warning: {path} is cut short or altered")


def test_the_last_runs_are_listed_with_how_many_are_earlier(tmp_path, printed):
    for day in range(1, 10):
        put_here(tmp_path, f"2026110{day}T000000-000000", f"2026-11-0{day}T00:00:00+00:00")
    _, out, _ = printed("list", "m", "--root", tmp_path, "--last", "2")
    assert [line[:8] for line in out.splitlines()[1:3]] == ["20261109", "20261108"]
    assert out.endswith("7 earlier runs: --last 0 lists all\n")
    _, out, _ = printed("list", "m", "--root", tmp_path, "--last", "0")
    assert len(out.splitlines()) == 10


def test_json_has_the_same_runs_under_keys_that_stay(tmp_path, printed):
    put_here(tmp_path, FIRST, "2026-11-23T06:00:00+00:00", auc=0.75)
    put_folder(tmp_path, SECOND, "2026-11-30T06:00:00+00:00", status="failed", error="x")
    code, out, _ = printed("list", "m", "--root", tmp_path, "--json")
    second, first = json.loads(out)
    assert code == 0
    assert second.keys() == first.keys()
    assert (second["status"], second["gate"], second["metric"]) == ("failed", None, None)
    assert first["place"] == str(tmp_path / "m" / FIRST)
    assert first["metric"] == {"name": "auc", "value": 0.75, "low": 0.73, "high": 0.77}
    assert first["gate"]["failed"]["auc"].endswith("is below the gate 0.8000")
    assert (first["wall_s"], first["cpu_s"], first["usd"]) == (33.0, 28.5, None)


def test_without_a_name_each_model_has_its_last_run(tmp_path, printed):
    put_here(tmp_path, FIRST, "2026-11-23T06:00:00+00:00")
    put_here(tmp_path, SECOND, "2026-11-30T06:00:00+00:00")
    shutil.copytree(OLD / "toys", tmp_path / "toys", symlinks=True)
    (tmp_path / ".cache/x").mkdir(parents=True)
    (tmp_path / "no-model").mkdir()
    _, out, _ = printed("list", "--root", tmp_path)
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [
        ["m", "20261130T060000"],
        ["toys", "20261201T143511*"],
    ]


def test_runs_of_an_earlier_version_are_listed_by_their_metrics(printed):
    _, out, err = printed("list", "toys", "--root", OLD)
    assert "  0.7585 ±0.1141  passed" in out
    assert err == ""


def test_a_quick_run_is_marked_and_has_the_metric_that_its_gate_bounds(tmp_path, printed):
    metrics = json.loads(next(Path(OLD).glob("toys/*/metrics.json")).read_bytes())
    checks = metrics["gate"]["checks"]
    bound = {"metric": "accuracy", "bound": {"min": 0.9}, "passed": False, "sentence": "too low"}
    metrics["gate"] = {"passed": False, "checks": [bound, *checks]}
    folder = put_folder(tmp_path, FIRST, "2026-11-23T06:00:00+00:00", quick=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert "quick, failed: accu…" in table_of(tmp_path, 100)[1]
    [run] = json.loads(printed("list", "m", "--json", "--root", str(tmp_path))[1])
    assert run["quick"]
    assert run["metric"]["name"] == "accuracy"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["list", "--root", "gone"], "gone is no folder; name the folder of all runs by --root"),
        (["list", "--root", "empty"], "empty has no runs; name another root"),
        (["list", "n", "--root", "root"], "root has no runs of a model 'n'; choose one of m"),
        (["list", "--root", "root/m"], "one model; write `quatrain list m --root root`"),
        (["list", "--root", "https://x/y"], "https://x/y is no folder"),
        (["list", "--cloud", "gone.yaml"], "gone.yaml: cannot be read"),
        (["report", "--root", "pruned"], "pruned has no runs; name another root"),
        (["report", "--root", "empty"], "empty has no runs; name another root"),
        (["list", "m", "--root", "pruned"], "pruned has no runs; name another root"),
        (["compare", "--root", "pruned"], "pruned has no run that was measured; name another"),
    ],
)
def test_what_is_no_root_is_a_sentence(tmp_path, monkeypatch, printed, words, sentence):
    put_here(tmp_path / "root", FIRST, "2026-11-23T06:00:00+00:00")
    (tmp_path / "empty").mkdir()
    (tmp_path / "pruned/m/statistics").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    code, out, err = printed(*words)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert sentence in err


def test_a_run_whose_folder_was_removed_is_not_listed(tmp_path):
    shutil.rmtree(put_here(tmp_path, FIRST, "2026-11-23T06:00:00+00:00"))
    put_here(tmp_path, SECOND, "2026-11-30T06:00:00+00:00")
    root = open_root(str(tmp_path))
    assert [run.run for run in list_runs(root, "m").runs] == [SECOND]
    assert list_models(root) == ["m"]
