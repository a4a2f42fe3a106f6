import json
import re
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from quatrain.trainer import task
from quatrain.trainer.checkpoints import Epoch
from quatrain.trainer.job import Outputs
from quatrain.trainer.settings import Hyperparameters, TrainerError
from quatrain.trainer.task import parse_job, tuning_report

ROOT = Path(__file__).parents[2]
NEEDED = ["--examples", "in", "--job-dir", "out"]


@pytest.fixture(autouse=True)
def _no_vertex(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIP_MODEL_DIR", "AIP_CHECKPOINT_DIR", "AIP_TENSORBOARD_LOG_DIR"):
        monkeypatch.delenv(name, raising=False)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        parse_job([*NEEDED, *arguments])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_the_defaults_are_those_of_the_hyperparameters() -> None:
    assert parse_job(NEEDED).settings == Hyperparameters()


def test_every_hyperparameter_is_an_option() -> None:
    arguments = []
    for f in fields(Hyperparameters):
        own = {
            "hidden_units": "8,4",
            "model": "linear",
            "quality": "high",
            "refit": "never",
            "class_weights": "balanced",
        }
        value = own.get(f.name, "0.5" if f.type == "float" else "7")
        arguments += [f"--{f.name.replace('_', '-')}", value]
    settings = asdict(parse_job([*NEEDED, *arguments]).settings)
    assert (settings.pop("hidden_units"), settings.pop("model")) == ((8, 4), "linear")
    assert settings.pop("class_weights") == "balanced"
    assert (settings.pop("quality"), settings.pop("refit")) == ("high", "never")
    assert set(settings.values()) == {7, 0.5}


def test_a_tuning_study_may_name_an_option_like_its_field() -> None:
    assert parse_job([*NEEDED, "--learning_rate=0.25"]).settings.learning_rate == 0.25


def test_the_settings_are_one_argument_and_a_single_option_overrides_it() -> None:
    settings = Hyperparameters(epochs=7, hidden_units=(8, 4), max_seconds=3)
    arguments = [*NEEDED, "--learning_rate=0.25", "--settings", settings.as_json(), "--epochs=9"]
    job = parse_job(arguments)
    assert job.settings == replace(settings, learning_rate=0.25, epochs=9)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epochs=3", "argument --settings: it must be JSON: "),
        ("[3]", "argument --settings: it must be a JSON object of settings, not list"),
        ('{"epoch": 3}', "argument --settings: epoch is no setting; choose from model, epochs, "),
        ('{"epochs": 3.5}', "argument --settings: epochs is 3.5; it must be a whole number"),
        ('{"seed": true}', "argument --settings: seed is True; it must be a whole number"),
        ('{"hidden_units": "8"}', "hidden_units is '8'; it must be a list of whole numbers"),
        ('{"dropout": 1}', "dropout is 1; it must be at least 0 and below 1"),
    ],
)
def test_wrong_settings_are_an_error(
    text: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in refusal(capsys, "--settings", text)


def test_class_weights_are_an_object_or_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    weights = {"yes": 5, "no": 0.5}
    single = parse_job([*NEEDED, "--class-weights", json.dumps(weights)]).settings
    assert single.class_weights == weights
    assert parse_job([*NEEDED, "--settings", single.as_json()]).settings == single
    assert "class_weights" not in Hyperparameters().as_json()
    for text, sentence in {
        "yes=5": "'yes=5' must be balanced, or a JSON object such as {\"yes\": 5}",
        '{"yes": -1}': "class_weights is {'yes': -1}; it must be balanced, or a number above 0",
    }.items():
        assert sentence in refusal(capsys, "--class-weights", text)


def test_only_lines_of_the_trainer_have_a_time() -> None:
    code = (
        "import logging; from quatrain.trainer import task; task._start_logs()\n"
        "task.log.info('epoch 1')\n"
        "logging.getLogger('absl').warning('Function `call` contains unsupported characters')\n"
        "logging.getLogger('tensorflow').warning('noise')\n"
        "logging.getLogger('tensorflow').info('chatter')\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    epoch, noise = done.stdout.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} epoch 1", epoch)
    assert noise == "[tensorflow] noise"


def test_an_unknown_model_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "--model", "mlp", "--hidden-units=")
    assert "model is 'mlp'; it must be one of auto, tabm, trees, blend, linear" in message
    assert "hidden_units is (); it must be one or more widths of at least 1" in message


def test_an_unknown_argument_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unrecognized arguments: --learnig-rate 1" in refusal(capsys, "--learnig-rate", "1")


def test_an_abbreviated_argument_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unrecognized arguments: --epoch 1" in refusal(capsys, "--epoch", "1")


def test_a_malformed_number_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert "argument --epochs: '3.5' must be a whole number" in refusal(capsys, "--epochs", "3.5")


def test_a_value_out_of_range_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "--dropout", "1", "--learning-rate", "nan")
    assert "dropout is 1.0; it must be at least 0 and below 1" in message
    assert "learning_rate is nan; it must be a number above 0" in message


def test_an_unknown_strategy_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert "choose from" in refusal(capsys, "--strategy", "parameter_server")


def test_a_malformed_digest_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'abc' must be 64 hexadecimal digits" in refusal(capsys, "--package-sha256", "abc")


def test_outputs_go_below_the_job_dir() -> None:
    assert parse_job(NEEDED).outputs == Outputs("out/model", "out/checkpoints", "out/logs")


def test_outputs_of_vertex_win_over_the_job_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIP_MODEL_DIR", "gs://b/7/model/")
    assert parse_job(NEEDED).outputs == Outputs("gs://b/7/model", "out/checkpoints", "out/logs")


def test_outputs_without_a_place_are_an_error() -> None:
    with pytest.raises(TrainerError, match=r"give --job-dir, or set .*AIP_MODEL_DIR"):
        parse_job(["--examples", "in"])


def test_parsing_and_help_never_import_tensorflow() -> None:
    code = (
        "import sys, quatrain.trainer.task as t\n"
        "try: t.main(['--help'])\n"
        "finally: assert not {'tensorflow', 'numpy', 'pyarrow'} & set(sys.modules)"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert all(f"--{f.name.replace('_', '-')}" in completed.stdout for f in fields(Hyperparameters))


@pytest.mark.parametrize("variable", ["CLOUD_ML_HP_METRIC_FILE", ""])
def test_the_metric_file_is_that_of_google_s_own_reporter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    """The text is what cloudml-hypertune 0.1.0.dev6 wrote for the same reports and times."""
    path = tmp_path / "hypertune" / "output.metrics"
    monkeypatch.delenv("CLOUD_ML_HP_METRIC_FILE", raising=False)
    if variable:
        monkeypatch.setenv(variable, str(path))
    else:
        monkeypatch.setattr(task, "TUNING_FILE", str(path))
    monkeypatch.setenv("CLOUD_ML_TRIAL_ID", "4")
    monkeypatch.setattr("time.time", lambda: 1733000000.25)
    report = tuning_report()
    assert path.read_text() == ""
    report(Epoch(1, 10, 0.7, 0.5, 1.0))
    report(Epoch(2, 20, 0.6, 1e-05, 2.0))
    assert path.read_text() == (
        '{"checkpoint_path": "", "global_step": "10", "timestamp": 1733000000.25, "trial": "4", '
        '"validation_loss": "0.5"}\n'
        '{"checkpoint_path": "", "global_step": "20", "timestamp": 1733000000.25, "trial": "4", '
        '"validation_loss": "1e-05"}\n'
    )
    for step in range(3, 104):
        report(Epoch(step, 10 * step, 0.6, 0.25, 2.0))
    lines = path.read_text().splitlines()
    assert (len(lines), json.loads(lines[0])["global_step"]) == (100, "40")


def test_the_default_metric_file_is_google_s() -> None:
    assert task.TUNING_FILE == "/tmp/hypertune/output.metrics"  # noqa: S108


@pytest.mark.parametrize("obstacle", ["a folder", "a file above"])
def test_a_metric_file_that_cannot_be_written_is_named_before_the_first_epoch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, obstacle: str
) -> None:
    path = tmp_path / "hypertune" / "output.metrics"
    if obstacle == "a folder":
        path.mkdir(parents=True)
    else:
        path.parent.write_text("")
    monkeypatch.setenv("CLOUD_ML_HP_METRIC_FILE", str(path))
    with pytest.raises(TrainerError) as caught:
        tuning_report()
    assert f"the tuning metric cannot be written to {path}: " in str(caught.value)
    assert "; run the image as root" in str(caught.value)


def test_outside_a_trial_nothing_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CLOUD_ML_HP_METRIC_FILE", raising=False)
    monkeypatch.delenv("CLOUD_ML_TRIAL_ID", raising=False)
    monkeypatch.setattr(task, "TUNING_FILE", str(tmp_path / "output.metrics"))
    tuning_report()(Epoch(1, 10, 0.7, 0.5, 1.0))
    assert list(tmp_path.iterdir()) == []
