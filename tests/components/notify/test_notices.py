"""A notice says how a run ended, whatever the webhook does; a real server receives it."""

import base64
import io
import json
import time
from pathlib import Path

import pytest

from quatrain.components.errors import DriftFailed, GateFailed, ReleaseError
from quatrain.components.notify import failures, sending
from quatrain.components.notify.notice import MAX_TEXT, Notice, of_move, of_run
from quatrain.components.notify.run import notify_of
from quatrain.components.notify.sending import NoticeError, body_for, check_webhook, send, shown
from quatrain.components.specification.schema import ModelSpec
from quatrain.local.run import StepFailed, run_pipeline
from quatrain.pipelines.compiled import compile_pipeline
from tests.emulators.notices import notices_server

NOTICE = Notice("failed", "toys", "run-1", "train", "export", "the disk is full", "make room")
SECRET = "projects/p/secrets/chat/versions/latest"  # noqa: S105 - a name
TOPIC = "projects/p/topics/runs"


@pytest.fixture
def server():
    with notices_server() as started:
        yield started


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr(sending, "PAUSES_S", (0.0, 0.0))


def task(folder: Path, name: str, function: str, error: BaseException, *, ended=False):
    """Leaves what a task leaves that failed with an error."""
    outputs = {"outputFile": str(folder / name / "executor_output.json")}
    arguments = ["--executor_input", json.dumps({"outputs": outputs})]
    failures.record([*arguments, "--function_to_execute", function], error)
    if ended:
        (folder / name / "executor_output.json").write_text("{}")


def exit_of(error: Exception) -> SystemExit:
    """Returns how a component ends at an error, by in_a_sentence."""
    try:
        try:
            raise error
        except Exception as cause:
            raise SystemExit(f"error: {cause}")  # noqa: B904 - as sys.exit in a handler
    except SystemExit as stopped:
        return stopped


FAILED = "The DAG failed because some tasks failed. The failed tasks are: [{}]."


@pytest.mark.parametrize(
    ("function", "step", "error", "event"),
    [
        ("find_files", "preprocess", ValueError("no file; name another"), "failed"),
        ("compare", "preprocess", DriftFailed("psi is above 0.2; correct it"), "drift"),
        ("package", "package", OSError(28, "No space left on device", "/data/x"), "failed"),
        ("plan", "train", ValueError("no such tier; choose BASIC"), "failed"),
        ("measure", "evaluate", MemoryError("no room; take a larger tier"), "failed"),
        ("release", "release", ReleaseError("a golden row differs; export again"), "failed"),
        ("gate", "evaluate", GateFailed("auc is below 0.8; log_loss is above 1"), "gate"),
    ],
)
def test_each_step_s_error_gives_its_phase_reason_and_event(tmp_path, function, step, error, event):
    task(tmp_path, f"{function}-1", function, exit_of(error))
    notice = of_run(str(tmp_path), "", "toys", "r", "FAILED", FAILED.format(step))
    assert (notice.event, notice.step, notice.phase) == (event, step, function)
    assert notice.reason
    assert f"in step {step}" in notice.text


def test_a_missed_gate_says_every_check_and_how_to_promote(tmp_path):
    task(tmp_path, "gate-1", "gate", exit_of(GateFailed("auc is below 0.8; loss is above 1")))
    notice = of_run(str(tmp_path), "", "toys", "run-7", "FAILED", FAILED.format("evaluate"))
    assert notice.reason == "auc is below 0.8; loss is above 1"
    assert "quatrain promote run-7 --reason" in notice.advice


def test_the_trainer_s_own_record_is_the_reason_of_the_train_step(tmp_path):
    record = {"phase": "export", "reason": "the disk is full", "hint": "make room", "exit_code": 4}
    (tmp_path / "plan_9/model").mkdir(parents=True)
    (tmp_path / "plan_9/model/failure.json").write_text(json.dumps(record))
    (tmp_path / "plan_9/executor_output.json").write_text("{}")
    notice = of_run(str(tmp_path), "", "toys", "run-1", "FAILED", FAILED.format("train"))
    assert notice == NOTICE


def test_a_step_that_failed_before_our_code_ran_is_named_by_vertex_s_error(tmp_path):
    task(tmp_path, "preprocess-1", "preprocess", exit_of(ValueError("a first try")), ended=True)
    notice = of_run(str(tmp_path), "", "toys", "r", "FAILED", FAILED.format("evaluate"))
    assert (notice.event, notice.step) == ("failed", "evaluate")
    assert "image" in notice.advice


def test_a_stopped_step_leaves_no_record(tmp_path):
    task(tmp_path, "measure-1", "measure", SystemExit(143))
    assert not list(tmp_path.rglob("failure.json"))


def test_a_long_reason_is_cut(tmp_path):
    task(tmp_path, "gate-1", "gate", exit_of(GateFailed("x" * 5000)))
    notice = of_run(str(tmp_path), "", "toys", "r", "FAILED", "")
    assert len(notice.reason) == MAX_TEXT


def test_a_server_gets_the_text_and_the_fields_and_a_chat_service_what_it_takes(server):
    (line,) = send(NOTICE, {"webhook": f"{server.url}/hook"})
    assert line == f"notify: failed: sent to {server.url}/..."
    (body,) = server.posts("/hook")
    assert body["text"].startswith("toys: run run-1 failed in step train (export): the disk is")
    assert body["quatrain"]["advice"] == "make room"
    assert list(body_for(NOTICE, "chat.googleapis.com")) == ["text"]
    card = body_for(NOTICE, "x.westeurope.logic.azure.com")
    assert card["attachments"][0]["content"]["body"][0]["text"] == NOTICE.text


@pytest.mark.parametrize("behaviour", ["500", "302", "down", "slow"])
def test_a_notice_that_cannot_be_sent_is_a_sentence_and_nothing_more(server, behaviour):
    address = "http://localhost:9/x" if behaviour == "down" else f"{server.url}/{behaviour}"
    started = time.monotonic()
    (line,) = send(NOTICE, {"webhook": address}, deadline_s=2.0)
    assert "not sent" in line
    assert address not in line
    assert time.monotonic() - started < 10
    assert not server.posts("/elsewhere")


def test_a_secret_holds_the_address_and_no_line_shows_it(server, monkeypatch):
    monkeypatch.setenv("SECRET_MANAGER_EMULATOR_HOST", server.host)
    server.secrets[SECRET] = f"{server.url}/hidden\n"
    (line,) = send(NOTICE, {"webhook": SECRET})
    assert line == f"notify: failed: sent to {SECRET}"
    assert len(server.posts("/hidden")) == 1
    (line,) = send(NOTICE, {"webhook": SECRET.replace("chat", "none")})
    assert "roles/secretmanager.secretAccessor" in line


def test_a_topic_gets_the_notice_with_attributes(server, monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
    server.topics.add(TOPIC)
    (line,) = send(
        of_move("toys", {"run": "r", "before": "q", "by": "ann", "reason": "why"}, "rolled back"),
        {"pubsub": TOPIC},
    )
    assert line == f"notify: rolled back: sent to {TOPIC}"
    (message,) = server.published[TOPIC]
    assert message["attributes"] == {"event": "rolled back", "model": "toys", "run": "r"}
    assert json.loads(base64.b64decode(message["data"]))["quatrain"]["reason"] == (
        "by ann, in place of run q: why"
    )
    (line,) = send(NOTICE, {"pubsub": f"{TOPIC}-none"})
    assert "answered 404" in line


@pytest.mark.parametrize(
    "address",
    ["http://example.com/x", "ftp://h/x", "https://u:p@h/x", "https:///x", "x", "https://h/\n"],
)
def test_only_https_or_a_secret_is_an_address(address):
    with pytest.raises(NoticeError, match="cannot be used"):
        check_webhook(address)
    assert "p@" not in shown(address)


def test_a_run_that_cannot_be_described_is_still_heard_of(server, tmp_path):
    (tmp_path / "gate-1").mkdir()
    (tmp_path / "gate-1/failure.json").write_text("[")
    addresses = {"webhook": f"{server.url}/hook"}
    sent = tmp_path / "notify-1/sent"
    notify_of(addresses, "{", "", "r", "p", "europe-west1", "FAILED", "", str(sent))
    (body,) = server.posts("/hook")
    assert body["quatrain"]["event"] == "failed"
    assert body["quatrain"]["link"].endswith("/europe-west1/pipelines/runs/r?project=p")


@pytest.mark.parametrize("step", ["preprocess", "package"])
def test_the_compiled_file_sends_why_a_step_failed(server, tmp_path, step):
    table = tmp_path / "toys.csv"
    table.write_text("id,x,y\n" + "".join(f"t{i},{i % 17},{i % 2}\n" for i in range(400)))
    trainer = tmp_path / "trainer"
    trainer.mkdir()
    (trainer / "model.py").write_text("raise ValueError('not a model')\n")
    document = {
        "name": "toys",
        "source": {"uri": str(table)},
        "columns": {"id": "string", "x": "float", "y": "bool"},
        "label": "y",
        "task": "binary",
        "split": {"by": "hash", "keys": ["id"], "train": 0.6, "validation": 0.2, "test": 0.2},
        "features": [{"name": "x", "from": "x", "transform": "standardize"}],
        "train": {"trainer": str(trainer)},
    }
    spec = ModelSpec.model_validate(document)
    if step == "preprocess":
        table.unlink()
    path, stream = compile_pipeline(tmp_path / "training.yaml"), io.StringIO()
    address = f"{server.url}/hook"
    with pytest.raises(StepFailed) as raised:
        run_pipeline(path, spec, tmp_path / "runs", stream=stream, notify=address)
    fields = server.posts("/hook")[0]["quatrain"]
    assert (fields["event"], fields["step"], fields["model"]) == ("failed", step, "toys")
    assert fields["reason"]
    assert fields["reason"] in str(raised.value)
    files = [f for f in raised.value.folder.rglob("*") if f.is_file()]
    assert not [f for f in files if address.encode() in f.read_bytes()]
    record = json.loads((raised.value.folder / "run.json").read_text())
    assert [s["name"] for s in record["steps"]][-1] == step
