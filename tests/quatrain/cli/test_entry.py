"""Verbs, their help, their errors and their exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from quatrain.cli import main
from quatrain.cli.exit_codes import INTERRUPTED
from quatrain.cli.predict import columns_in_short
from quatrain.components.tiers.prices import OWN

ROOT = Path(__file__).parents[3]
VERBS = [
    "init",
    "run",
    "compile",
    "check",
    "tiers",
    "predict",
    "serve",
    "list",
    "report",
    "compare",
    "models",
    "promote",
    "rollback",
    "gc",
    "deploy",
    "traffic",
    "undeploy",
    "doctor",
    "submit",
    "logs",
    "cancel",
    "upload",
]


def quatrain(capsys, *arguments):
    """Returns the exit code and what was printed."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return ended.value.code or 0, printed.out, printed.err


@pytest.fixture
def spec_path(tmp_path, spec):
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(spec.as_document()))
    return path


def test_help_imports_nothing_heavy():
    code = "import sys; from quatrain.cli import entry; print(*sys.modules, sep='\\n')"
    command = [sys.executable, "-c", code]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in completed.stdout.split()}
    assert not modules & {"apache_beam", "duckdb", "kfp", "numpy", "pyarrow"}
    assert not modules & {"keras", "pydantic", "requests", "tensorflow", "yaml"}


@pytest.mark.parametrize(
    "start", [["-m", "quatrain"], ["-c", "import quatrain.cli as c; c.main()"]]
)
@pytest.mark.parametrize("path", ["{}:", ":{}"])
def test_an_empty_entry_of_the_path_lets_no_module_of_the_user_in(tmp_path, start, path):
    (tmp_path / "click.py").write_text("raise ImportError('click.py was imported')")
    command = [sys.executable, "-P", *start, "tiers", "BASIC"]
    environ = {**os.environ, "PYTHONPATH": path.format(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.stdout.startswith("BASIC"), done.stderr


def test_python_m_quatrain_lists_every_verb():
    command = [sys.executable, "-m", "quatrain", "--help"]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(f"\n  {verb} " in completed.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_s_help_fits_a_screen_and_has_an_example(capsys, verb):
    code, out, _ = quatrain(capsys, verb, "--help")
    assert code == 0
    assert len(out.splitlines()) <= 24
    assert max(map(len, out.splitlines())) <= 80
    assert f"Example:\n    quatrain {verb} " in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rnu"], "error: no verb 'rnu'; did you mean 'run'?"),
        (["frobnicate"], "choose one of init, check, run, list"),
        (["tiers", "--prices"], "error: Option '--prices' requires an argument"),
        (["run", "x.yaml", "--teir", "B"], "No such option"),
        (["compile", "-o", "training.txt"], "must end in .yaml"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(capsys, arguments, sentence):
    code, _, err = quatrain(capsys, *arguments)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert "?;" not in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "/gone.yaml"], "error: /gone.yaml: cannot be read"),
        (["check", "/gone.yaml"], "error: /gone.yaml: cannot be read"),
        (["tiers", "STANDART"], "error: unknown tier 'STANDART'; did you mean 'STANDARD_1'?"),
        (["report", "/"], "error: / holds no run"),
        (["predict", "/gone", "/gone.csv"], "error: "),
    ],
)
def test_a_failure_is_a_sentence_and_exit_code_1(capsys, arguments, sentence):
    code, _, err = quatrain(capsys, *arguments)
    assert code == 1
    assert sentence in err
    assert "Traceback" not in err
    assert "unexpected" not in err


def test_a_wrong_tier_stops_a_run_before_it_starts(capsys, spec_path, tmp_path):
    code, _, err = quatrain(capsys, "run", spec_path, "--tier", "BASIK", "--root", tmp_path / "r")
    assert (code, err) == (1, "error: unknown tier 'BASIK'; did you mean 'BASIC'?\n")
    assert not (tmp_path / "r").exists()


def test_a_time_for_a_spec_without_a_window_is_refused(capsys, spec_path):
    for verb in ("run", "check"):
        code, _, err = quatrain(capsys, verb, spec_path, "--at", "2013-07-01")
        assert code == 1
        assert "--at 2013-07-01 says where source.window ends, and the spec has no window" in err


def test_debug_shows_where_an_error_comes_from(capsys):
    from quatrain.components.errors import TierError

    with pytest.raises(TierError):
        main(["tiers", "STANDART", "--debug"])


def test_tiers_shows_the_machines_of_today_and_what_changed(capsys):
    _, out, _ = quatrain(capsys, "tiers")
    assert [line.split()[0] for line in out.splitlines()[1:7]] == [
        "BASIC",
        "STANDARD_1",
        "PREMIUM_1",
        "BASIC_GPU",
        "BASIC_TPU",
        "CUSTOM",
    ]
    _, out, _ = quatrain(capsys, "tiers", "STANDARD_1")
    assert "4 x n1-standard-8" in out
    assert "n1-highcpu-8 is no longer a training machine" in out
    assert "ended on 2026-07-11" in out
    assert "2.18 to 3.50 $/h by region, by the prices of 2026-09-08" in out


def test_tiers_takes_a_table_of_prices_from_an_option_or_the_environment(
    capsys, tmp_path, monkeypatch
):
    table = yaml.safe_load(OWN.read_text())
    own = tmp_path / "prices.yaml"
    own.write_text(yaml.safe_dump({**table, "machines": {"n1-standard-4": 7.0}}))
    _, out, _ = quatrain(capsys, "tiers", "BASIC", "--prices", own)
    assert "7.00 to 11.20 $/h" in out
    monkeypatch.setenv("QUATRAIN_PRICES", str(own))
    _, out, _ = quatrain(capsys, "tiers", "A100")
    assert "price       unknown: machine a2-highgpu-1g is not in the table of prices" in out


def test_a_compiled_file_is_run_as_it_is_and_its_report_read(
    capsys, spec_path, toy_path, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    runner = json.dumps(["ok", [1]])
    words = ["run", spec_path, "--pipeline", toy_path, "--trust", "--runner", runner]
    code, _, err = quatrain(capsys, *words)
    assert code == 0
    assert "[1/2] prepare" in err
    assert "4 rows: 2 train, 1 validation, 1 test, 0 rejected" in err
    folder = tmp_path / "runs" / "toy" / "latest"
    assert (folder / "training.yaml").read_bytes() == toy_path.read_bytes()
    assert yaml.safe_load((folder / "spec.yaml").read_text())["name"] == "toy"
    (folder / "report.html").write_text("page")
    code, out, _ = quatrain(capsys, "report", "runs/toy")
    lines = out.splitlines()
    assert lines[0].startswith(f"toy {os.readlink(folder)}: succeeded after ")
    assert lines[1].split() == ["step", "status", "wall", "s", "CPU", "s", "peak", "MiB"]
    assert [line.split()[0] for line in lines[2:4]] == ["prepare", "train"]
    assert lines[-1] == "page: runs/toy/latest/report.html"


def test_a_file_that_compile_does_not_write_is_not_run_unless_it_is_trusted(
    capsys, spec_path, toy_path, tmp_path
):
    words = ["run", spec_path, "--pipeline", toy_path, "--root", tmp_path / "runs"]
    code, _, err = quatrain(capsys, *words)
    assert code == 1
    assert err.startswith(f"error: {toy_path}: is not what `quatrain compile` of this version ")
    assert err.endswith("or add --trust if you trust whoever wrote this one\n")
    assert not (tmp_path / "runs").exists()


def test_report_shows_metrics_and_the_gate_s_sentences(capsys, tmp_path):
    record = {"name": "toy", "id": "1", "status": "running", "pid": 2**30, "error": ""}
    steps = [{"name": "train", "status": "running", "wall_s": 0, "cpu_s": 0}]
    (tmp_path / "run.json").write_text(json.dumps({**record, "wall_s": 1.5, "steps": steps}))
    metrics = {
        "rows": 1000,
        "metrics": {"auc": {"value": 0.9, "low": 0.88, "high": 0.92}, "r2": {"value": None}},
        "gate": {
            "passed": False,
            "checks": [
                {"metric": "auc", "passed": False, "sentence": "auc is low"},
                {"metric": "champion", "passed": True, "sentence": "auc is below the champion's"},
            ],
        },
        "warnings": [
            {"kind": "champion", "severity": "serious", "sentence": "auc is below the champion's"}
        ],
        "importance": [
            *({"input": f"x{k}", "rise": 0.75 / k, "low": 0.1, "high": 1.0} for k in range(1, 7)),
            {"input": "noise", "rise": 0.01, "low": -0.01, "high": 0.03},
            {"input": "refused", "rise": None, "low": None, "high": None},
        ],
        "importance_basis": {"loss": "log_loss"},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    code, out, _ = quatrain(capsys, "report", tmp_path)
    assert code == 0
    assert "toy 1: killed after at least 1.5 s" in out
    assert "train  killed" in out
    assert "1,000 test rows, with 95 % intervals\nauc  0.9000  0.8800 to 0.9200\n" in out
    assert (
        "inputs that matter most: x1 +0.7500, x2 +0.3750, x3 +0.2500, x4 +0.1875, x5 +0.1500, "
        "and 1 more\n  (how much log_loss rises when one is shuffled)\n"
    ) in out
    assert "  MISS auc is low\n  warn auc is below the champion's\n" in out
    assert out.count("auc is below the champion's") == 1


def test_a_place_that_cannot_be_written_is_one_sentence(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = quatrain(capsys, "compile", "-o", tmp_path / "file/below/training.yaml")
    assert code == 1
    assert err == (
        f"error: {tmp_path}/file/below cannot be used: Not a directory; check its name and your "
        f"rights (--debug shows where)\n"
    )


def test_predict_names_few_columns_of_many_classes():
    names = [f"probability_{k}" for k in range(30)]
    in_short = columns_in_short([*names, "predicted_class"])
    assert in_short == f"{', '.join(names[:6])}, ... (31 columns), predicted_class"
    assert columns_in_short(["probability_Loss, Other", "id"]) == "'probability_Loss, Other', id"


def test_predict_prints_both_counts_and_copies_columns(capsys, tmp_path):
    from tests.components.handmade import export_model

    export_model(tmp_path / "model", "regression")
    (tmp_path / "rows.csv").write_text("id,delay,carrier\na,30,UA\nb,soon,AA\nc,,\n")
    out, bad = tmp_path / "out.csv", tmp_path / "bad.csv"
    arguments = ["predict", tmp_path / "model", tmp_path / "rows.csv", "-o", out, "--keep", "id"]
    arguments.append("--trust")
    code, printed, err = quatrain(capsys, *arguments)
    assert (code, printed) == (1, "")
    assert "rows.csv, line 3: " in err
    assert not out.exists()
    code, printed, _ = quatrain(capsys, *arguments, "--rejected", bad)
    assert (code, printed) == (0, f"2 rows to {out}: id, prediction; 1 rejected to {bad}\n")
    assert [line.split(",")[0] for line in out.read_text().splitlines()] == ['"id"', '"a"', '"c"']
    assert bad.read_text().splitlines()[1].endswith(',"b,soon,AA"')


def test_ctrl_c_is_reported_as_such_with_the_folder_of_the_run(
    capsys, spec_path, toy_path, tmp_path
):
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code = start + "from quatrain.cli import main; main()"
    options = ["--pipeline", toy_path, "--trust", "--root", tmp_path]
    options += ["--runner", json.dumps(["hang", [1]])]
    child = subprocess.Popen(
        [sys.executable, "-c", code, "run", spec_path, *options],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not any(json.loads(r.read_text())["steps"] for r in tmp_path.glob("toy/*/run.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (record,) = tmp_path.glob("toy/*/run.json")
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == INTERRUPTED
    folder = record.parent.resolve()
    assert f"error: interrupted; what was done is in {folder}; another run starts anew" in err
    assert json.loads(record.read_text())["error"] == "interrupted"
    _, out, _ = quatrain(capsys, "report", tmp_path / "toy")
    assert out.splitlines()[-1] == "error: interrupted"


def test_the_folder_of_all_runs_names_what_is_in_it(capsys, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "latest").mkdir(parents=True)
        (tmp_path / name / "latest" / "run.json").write_text("{}")
        (tmp_path / name / "champion" / "model").mkdir(parents=True)
        (tmp_path / name / "champion" / "model" / "metadata.json").write_text("{}")
    for arguments in (["report", tmp_path], ["predict", tmp_path, "rows.csv"]):
        code, _, err = quatrain(capsys, *arguments)
        assert code == 1
        assert f"name one: {tmp_path}/a, {tmp_path}/b\n" in err


def test_a_verb_without_a_spec_names_those_of_the_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cloud.yaml").write_text("project: p\n")
    code, _, err = quatrain(capsys, "run")
    made = "`quatrain init DATA --target COLUMN` writes one"
    hint = "try `quatrain run --help`"
    assert (code, err) == (2, f"error: no SPEC; this folder has none, and {made}; {hint}\n")
    for name in ("a.yaml", "b.yml"):
        (tmp_path / name).write_text("name: x\nsource:\n  uri: x.csv\nlabel: y\n")
    for verb in ("run", "check", "submit", "doctor"):
        code, _, err = quatrain(capsys, verb)
        hint = f"try `quatrain {verb} --help`"
        assert (code, err) == (2, f"error: no SPEC; this folder has a.yaml, b.yml; {hint}\n")


def test_report_without_a_run_prints_the_one_that_started_last(capsys, tmp_path, monkeypatch):
    from tests.quatrain.results.made_runs import put_folder, put_here

    monkeypatch.chdir(tmp_path)
    put_here(Path("runs"), "20261201T030000-000000", "2026-12-01T03:00:00Z")
    put_folder(Path("runs"), "20261202T030000-000000", "2026-12-02T03:00:00Z", status="failed")
    code, out, _ = quatrain(capsys, "report")
    assert code == 0
    assert out.startswith("m 20261202T030000-000000: failed")
    code, _, err = quatrain(capsys, "report", "--root", "gone")
    assert (code, err[:27]) == (1, "error: gone is no folder; n")


def test_check_takes_a_tier_as_run_does(capsys, spec_path):
    code, _, err = quatrain(capsys, "check", spec_path, "--tier", "BASIK")
    assert (code, err) == (1, "error: unknown tier 'BASIK'; did you mean 'BASIC'?\n")


def test_check_looks_at_the_users_own_trainer_as_run_does(capsys, spec_path):
    for verb in ("check", "run"):
        code, _, err = quatrain(capsys, verb, spec_path, "--set", "train.trainer=gone.py")
        assert code == 1
        assert "train.trainer: " in err
        assert "gone.py does not exist; give a .py file with `train`" in err


@pytest.mark.parametrize(
    "words",
    [
        ["run", "gs://b/toys.yaml"],
        ["run", "toys.yaml", "--root", "gs://b/runs"],
        ["compile", "-o", "gs://b/training.yaml"],
    ],
)
def test_a_path_of_this_machine_is_no_uri(capsys, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "is a uri; name a path on this machine" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_where_utf_8_is_taken_away_a_name_of_any_letters_is_read(tmp_path):
    rows = "".join(f"r{i},{i * 7 % 13},{'yes' if i % 3 else 'no'}\n" for i in range(40))
    (tmp_path / "maß.csv").write_text(f"id,x,y\n{rows}", encoding="utf-8")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environ = {**os.environ, **locale, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "quatrain"]
    init = [*command, "init", "maß.csv", "--target", "y", "-o", "größe.yaml"]
    for verb in (init, [*command, "check", "größe.yaml"]):
        done = subprocess.run(verb, cwd=tmp_path, env=environ, capture_output=True, text=True)
        reports = [s for s in done.stderr.splitlines() if "still at work" not in s]  # if slow
        assert (done.returncode, reports) == (0, [])
        assert "größe.yaml" in done.stdout


@pytest.mark.parametrize("arguments", [["check", "a\x1b[2J"], ["a\x1b[2J"], ["tiers", "\x1b[1mX"]])
def test_escapes_are_written_out_where_the_output_is_no_terminal(capsys, arguments):
    _, _, printed = quatrain(capsys, *arguments)
    assert "\x1b" not in printed
    assert "\\x1b[" in printed


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("run.json", "wall_s", None),
        ("run.json", "steps", [{"name": "x"}]),
        ("run.json", "steps", 5),
        ("run.json", "pid", "x"),
        ("metrics.json", "rows", "many"),
        ("metrics.json", "metrics", {"auc": {"value": "x"}}),
        ("metrics.json", "gate", {"passed": True}),
    ],
)
def test_a_record_of_another_shape_is_a_sentence_of_report(capsys, tmp_path, file, key, value):
    run = next((ROOT / "tests/fixtures/root-0.1.0/root/toys").glob("2*351-*"))
    for name in ("run.json", "metrics.json"):
        document = json.loads((run / name).read_text())
        document |= {"status": "running"} if name == "run.json" else {}
        document |= {key: value} if name == file else {}
        (tmp_path / name).write_text(json.dumps(document))
    code, _, err = quatrain(capsys, "report", tmp_path)
    assert code == 1
    assert err.startswith(f"error: {tmp_path / file} is cut short or altered (")
    assert err.endswith("; start another run\n")


def test_an_argument_too_many_is_named(capsys):
    code, _, err = quatrain(capsys, "init", "a.csv", "b.csv", "c.csv", "--target", "y")
    assert code == 2
    assert err.startswith("error: more arguments than this verb takes: b.csv c.csv; try `quatrain ")


def test_a_run_leaves_no_compiled_file_behind_while_it_runs(capsys, spec_path, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environ = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "quatrain", "run", str(spec_path)]
    child = subprocess.Popen(
        [*command, "--root", str(tmp_path / "runs")],
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in child.stderr:
        if line.startswith("run "):
            break
    assert not list(temporary.glob("quatrain-compile-*"))
    child.kill()
    child.communicate(timeout=20)
