"""The log of requests of a server here: a line a request, rotated, sampled, and read again."""

from __future__ import annotations

import datetime
import json
import multiprocessing
import threading
from pathlib import Path

import pytest

from quatrain.components.errors import ArtifactError, ServedError
from quatrain.components.serve.online import log_file
from quatrain.components.serve.online.followed import FixedModel, FollowedChampion
from quatrain.components.serve.online.log_file import KEPT, LogFile
from quatrain.components.serve.request_log import FileLog, log_files, plan_sample, sampled_requests

ANSWER = {"predictions": [{"prediction": 1.5}]}


def rows_of(log: LogFile) -> list[dict[str, object]]:
    return [json.loads(line) for file in log_files(log.file) for line in file.open("rb")]


def test_a_row_holds_the_body_as_it_came(tmp_path: Path) -> None:
    log = LogFile(f"{tmp_path}/served/", "toys")
    log.check()
    before = datetime.datetime.now(datetime.UTC)
    log.write("run-1", b'{"instances": [{"x": 1}]}', ANSWER)
    log.write("run-1", b"\xff no text", {"error": "the body is not JSON"})
    good, bad = rows_of(log)
    assert (good["endpoint"], good["deployed_model_id"]) == ("toys", "run-1")
    assert good["request_payload"] == ['{"instances": [{"x": 1}]}']
    assert good["response_payload"] == [json.dumps(ANSWER)]
    assert bad["request_payload"] == ["\ufffd no text"]
    time = datetime.datetime.fromisoformat(str(good["logging_time"]))
    assert before <= time <= datetime.datetime.now(datetime.UTC)
    assert isinstance(good["request_id"], int) and good["request_id"] != bad["request_id"]
    assert log.file == tmp_path / "served/requests.jsonl"
    assert log.file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_full_is_set_aside_and_only_some_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "MAX_BYTES", 2_000)
    log = LogFile(str(tmp_path / "log.jsonl"), "toys")
    for i in range(100):
        log.write("r", str(i).encode(), {})
    files = log_files(log.file)
    assert [f.name for f in files] == ["log.jsonl", *(f"log.jsonl.{n + 1}" for n in range(KEPT))]
    assert all(f.stat().st_size <= 2_000 for f in files)
    bodies = [int(row["request_payload"][0]) for row in rows_of(log)]  # type: ignore[index]
    assert sorted(bodies) == list(range(100 - len(bodies), 100))


def test_after_a_line_that_a_crash_cut_off_the_next_one_stands_alone(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log.jsonl"), "toys")
    log.write("r", b"1", {})
    log.file.write_bytes(log.file.read_bytes()[:-20])
    log.write("r", b"2", {})
    reader = FileLog(log.path, "toys")
    today = datetime.datetime.now(datetime.UTC).date()
    days = today - datetime.timedelta(days=1), today
    sample = plan_sample(reader, days, 10)
    assert [payloads for _, payloads in sampled_requests(reader, sample)] == [["2"]]
    assert reader.broken == 1


def write_many(path: str, start: int, max_bytes: int) -> None:
    log_file.MAX_BYTES = max_bytes
    log = LogFile(path, "toys")
    threads = [
        threading.Thread(
            target=lambda first: [log.write("r", str(first + i).encode(), {}) for i in range(50)],
            args=(start + 50 * n,),
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_and_processes_lose_no_line_while_files_are_set_aside(tmp_path: Path) -> None:
    path = str(tmp_path / "log.jsonl")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_many, args=(path, 200 * n, 40_000)) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0, 0]
    log = LogFile(path, "toys")
    assert len(log_files(log.file)) > 1
    bodies = sorted(int(row["request_payload"][0]) for row in rows_of(log))  # type: ignore[index]
    assert bodies == list(range(400))


def test_the_share_of_the_requests_that_is_logged_is_the_sampling(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log.jsonl"), "toys", sampling=0.25)
    for _ in range(800):
        log.write("r", b"", {})
    assert 130 <= len(rows_of(log)) <= 270  # six standard deviations about 200


def test_a_log_that_cannot_be_written_is_one_sentence_and_the_server_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    log = LogFile(str(tmp_path / "file/log.jsonl"), "toys")
    with pytest.raises(ServedError, match=r"requests cannot be logged to .*file/log\.jsonl \("):
        log.check()
    for _ in range(3):
        log.write("r", b"", {})
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: requests are not logged to ")


def test_the_model_has_its_name_from_its_place_below_the_root(tmp_path: Path) -> None:
    root = str(tmp_path / "runs")
    assert FollowedChampion(f"{root}/toys", root).name == "toys"
    assert FixedModel(f"{root}/toys/latest/model", root).name == "toys"
    assert FixedModel("gs://b/runs/toys/r/model", "gs://b/runs/").name == "toys"
    for place, above in (
        (str(tmp_path / "model"), root),
        (root, root),
        ("gs://c/toys/m", "gs://b"),
    ):
        with pytest.raises(ArtifactError, match="nothing says of which model its requests are"):
            FixedModel(place, above).name  # noqa: B018
