"""A notice says how a run ended, whatever the webhook does; a real server receives it."""

import base64
import json
import re
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from quatrain.components import history
from quatrain.components.errors import DriftFailed, GateFailed, ReleaseError
from quatrain.components.notify import failures, sending
from quatrain.components.notify.bodies import MAX_DISCORD, body_for
from quatrain.components.notify.notice import MAX_TEXT, Notice, of_move, of_run
from quatrain.components.notify.run import notify_of
from quatrain.components.notify.sending import NoticeError, check_webhook, send, shown
from tests.components.handmade import make_spec
from tests.emulators.notices import notices_server
from tests.emulators.tls import make_certificate

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


def test_a_server_gets_the_text_and_the_fields(server):
    (line,) = send(NOTICE, {"webhook": f"{server.url}/hook"})
    assert line == f"notify: failed: sent to {server.url}/..."
    (body,) = server.posts("/hook")
    assert body["text"].startswith("toys: run run-1 failed in step train (export): the disk is")
    assert body["quatrain"]["advice"] == "make room"


@pytest.fixture
def untrusted(tmp_path):
    """The address of a server with a certificate that nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name, data in zip(("cert", "key"), make_certificate("localhost"), strict=True):
        (tmp_path / name).write_bytes(data)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


MARKED = Notice(
    "held", "toys", "r", reason="<!channel> a*b* & <users/all> @everyone", advice="x_y_"
)


def texts(value):
    """Yields every text of a body."""
    inner = value.values() if isinstance(value, dict) else value
    for each in [value] if isinstance(value, str) else inner if not isinstance(value, bool) else []:
        yield from [each] if isinstance(each, str) else texts(each)


def test_slack_s_three_characters_are_entities_and_its_markup_is_off():
    body = body_for(MARKED, "hooks.slack.com")
    assert body["text"].startswith(
        "toys: run r passed its bounds and is held: &lt;!channel&gt; a*b*"
    )
    assert "&amp; &lt;users/all&gt;" in body["text"]
    assert (sorted(body), body["mrkdwn"]) == (["mrkdwn", "text"], False)


def test_google_chat_gets_a_card_whose_text_is_escaped_html():
    body = body_for(MARKED, "chat.googleapis.com")
    assert sorted(body) == ["cardsV2"]
    [text] = [each for each in texts(body) if "held" in each]
    assert "&lt;users/all&gt;" in text and "<br>To do: x_y_" in text
    assert "<" not in text.replace("<br>", "")


@pytest.mark.parametrize("host", ["x.westeurope.logic.azure.com", "a.b.api.powerplatform.com"])
def test_teams_gets_a_card_of_text_runs_which_have_no_markdown(host):
    [attachment] = body_for(MARKED, host)["attachments"]
    blocks = attachment["content"]["body"]
    assert {block["type"] for block in blocks} == {"RichTextBlock"}
    runs = [run for block in blocks for run in block["inlines"]]
    assert "\n".join(run["text"] for run in runs) == MARKED.text


def test_discord_mentions_nobody_and_takes_2000_characters():
    body = body_for(MARKED, "discord.com")
    assert body["allowed_mentions"] == {"parse": []}
    assert r"\<\!" not in body["content"] and r"a\*b\*" in body["content"]
    assert r"\@everyone" in body["content"] and r"x\_y\_" in body["content"]
    long = body_for(Notice("held", "toys", "r", reason="*" * 1500), "discord.com")["content"]
    assert len(long) <= MAX_DISCORD and long.endswith("* ...")


@pytest.mark.parametrize("host", ["evilhooks.slack.com.example.org", "localhost", "notdiscord.com"])
def test_any_other_host_gets_the_fields_too(host):
    assert sorted(body_for(MARKED, host)) == ["quatrain", "text"]


FAULTS = {
    "500": "localhost answered 500",
    "302": "localhost answered 302, a redirect, which is not followed",
    "slow": "no answer within 2 s",
    "http://localhost:9": "localhost did not answer: ConnectionError",
    "https://quatrain.invalid": "quatrain.invalid did not answer: ConnectionError",
    "untrusted": "localhost did not answer: SSLError",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_notice_that_cannot_be_sent_is_a_sentence_and_nothing_more(server, untrusted, fault):
    base = fault if "://" in fault else untrusted if fault == "untrusted" else server.url
    address = f"{base}/{fault if fault.isalnum() else 'x'}?token=T0K3N"
    started = time.monotonic()
    (line,) = send(NOTICE, {"webhook": address}, deadline_s=2.0)
    assert line == f"notify: failed: not sent to {base}/...: {FAULTS[fault]}"
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


def of_job(job: Path, addresses, state="FAILED"):
    """Runs the exit task of a job, in a folder of its own as each attempt has."""
    number = len(list(job.glob("notify-*")))
    sent = job / f"notify-{number}/sent"
    notify_of(addresses, "{", "", "r", "p", "europe-west1", state, "", str(sent))
    return json.loads(sent.read_text())


def test_a_repeated_exit_task_sends_only_what_was_not_sent(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
    addresses = {"webhook": f"{server.url}/hook", "pubsub": TOPIC}
    assert "answered 404" in " ".join(of_job(tmp_path, addresses))
    server.topics.add(TOPIC)
    assert "was sent to the webhook before" in of_job(tmp_path, addresses)[0]
    of_job(tmp_path, addresses)
    assert len(server.posts("/hook")) == len(server.published[TOPIC]) == 1


def test_a_slow_webhook_does_not_hold_up_the_topic(server, monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
    server.topics.add(TOPIC)
    lines = send(NOTICE, {"webhook": f"{server.url}/slow", "pubsub": TOPIC}, deadline_s=1.0)
    assert sorted(line.split(":")[2][:9] for line in lines) == [" not sent", " sent to "]
    assert "no answer within 1 s" in " ".join(lines)


@pytest.mark.parametrize("drifted", [False, True])
def test_a_prediction_that_succeeds_is_silent_unless_its_inputs_drifted(server, tmp_path, drifted):
    check = {"verdict": "warn", "sentence": "x: psi=2 is above drift.psi.warn 0.2"}
    comparison = {"against": ["champion"], "checks": [check], "columns": []}
    folder = tmp_path / "compare-inputs-1/drift"
    folder.mkdir(parents=True)
    drift = {"comparisons": [comparison] if drifted else []}
    (folder / "drift.json").write_text(json.dumps(drift))
    addresses, sent = {"webhook": f"{server.url}/hook"}, str(tmp_path / "notify-1/sent")
    where = ("{", "", "r", "p", "l")
    notify_of(addresses, *where, "SUCCEEDED", "", sent, predicts=True, notify_success=False)
    fields = [body["quatrain"] for body in server.posts("/hook")]
    assert [f["event"] for f in fields] == ["predicted"] * drifted
    assert [len(f["drift"]) for f in fields] == [1] * drifted


def test_the_first_line_is_the_one_that_the_alert_counts(tmp_path, capsys):
    """deploy/main.tf counts it to hear of a model whose runs do not come."""
    spec = json.dumps({"uri": "none"})
    notify_of({}, spec, "", "r-1", "p", "l", "SUCCEEDED", "", str(tmp_path / "notify-1/sent"))
    assert capsys.readouterr().out.splitlines()[0] == "notify: : run r-1 succeeded"
    module = Path("deploy/main.tf").read_text()
    [line] = [
        line
        for line in module.splitlines()
        if "Runs of ${each.key}" not in line and "^notify: ${each.key}: run" in line
    ]
    pattern = line.split('=~\\"')[1].split('\\"')[0].replace("${each.key}", "toys")
    for event in ("promoted", "held", "succeeded"):
        assert re.match(pattern, f"notify: toys: run toys-20261203 {event}")
    for event in ("failed", "gate", "drift", "cancelled", "predicted"):
        assert not re.match(pattern, f"notify: toys: run toys-20261203 {event}")


@pytest.mark.parametrize("record", ["[", '{"sent": 3}', "{}"])
def test_a_damaged_record_of_what_was_sent_loses_no_notice(server, tmp_path, record):
    (tmp_path / "notice.json").write_text(record)
    of_job(tmp_path, {"webhook": f"{server.url}/hook"})
    assert len(server.posts("/hook")) == 1


@pytest.mark.parametrize("gate", [[], {"why": 3, "decision": "promote"}, None])
def test_a_damaged_record_of_the_run_loses_no_notice(server, tmp_path, capsys, gate):
    parts = {key: {} for key in ("spec", "rows", "data", "code", "metrics", "artifacts")}
    record = {"run": "r", "made": "2026-12-03", **parts, "gate": gate}
    history.record_measured(str(tmp_path / "root"), "hand-made", record)
    addresses, sent = {"webhook": f"{server.url}/hook"}, str(tmp_path / "job/notify/sent")
    root = str(tmp_path / "root")
    notify_of(addresses, make_spec(), root, "r", "p", "europe-west1", "SUCCEEDED", "", sent)
    assert "notify: the records of the run cannot be read: " in capsys.readouterr().out
    assert len(server.posts("/hook")) == 1


def test_drift_keeps_its_sentences_whole(tmp_path):
    sentence = "x: psi=2 is above drift.psi.fail 0.2 (9 rows before; chance alone gives up to 0.1)"
    error = DriftFailed(f"the rows differ:\n  {sentence}\nnothing was trained; correct the source")
    task(tmp_path, "compare-1", "compare", exit_of(error))
    notice = of_run(str(tmp_path), "", "toys", "r", "FAILED", FAILED.format("preprocess"))
    assert sentence in notice.reason
    assert notice.advice == "correct the source"
