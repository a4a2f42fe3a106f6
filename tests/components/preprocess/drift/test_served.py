"""The requests that a model has answered, compared with what its champion was trained on."""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from quatrain.components import history
from quatrain.components.folder import read_manifest
from quatrain.components.preprocess.drift import served as comparison
from quatrain.components.preprocess.drift.check import check_drift
from quatrain.components.preprocess.drift.inputs import InputStatistics
from quatrain.components.serve import deployed_models, request_log
from quatrain.components.serve.request_log import FileLog, plan_sample, sampled_requests
from quatrain.validation.load import validate
from tests.components.handmade import INPUTS, make_rows, make_spec, make_transform, write_examples
from tests.emulators import bigquery as bigquery_emulator
from tests.emulators import vertex
from tests.emulators.serving import LOG_SCHEMA, Serving
from tests.emulators.storage import write_credentials

NAME, DAY, RUN = "hand-made", "2026-11-12", "20261101T000000-000001"
TABLE, PATH = "bq://p-1.serving.requests", "projects/p-1/datasets/serving/tables/requests"
IMAGE = "europe-west1-docker.pkg.dev/my-project/quatrain/quatrain@sha256:" + "a" * 64
NOT = "the requests served were not compared: "


def requests_of(n: int, seed: int = 0, shift: float = 0.0) -> list[dict[str, Any]]:
    """The inputs of rows, as objects; null is missing."""
    rows = make_rows(n, seed=seed).select(["delay", "carrier"]).to_pylist()
    return [{**r, "delay": r["delay"] and round(r["delay"] + shift, 1)} for r in rows]


def line(number: int, *payloads: str, day: str = DAY, name: str = NAME) -> str:
    row = {
        "endpoint": name,
        "deployed_model_id": RUN,
        "logging_time": f"{day}T08:00:00.{number % 10**6:06}Z",
        "request_id": number,
        "request_payload": payloads,
        "response_payload": [],
    }
    return json.dumps(row)


class Served:
    """A champion below a root, the examples of a new run, and a log of requests."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, str(folder / "runs")
        self.log = folder / "requests.jsonl"
        self.document = json.loads(make_spec()) | {"release": {"log": str(self.log)}}
        statistics = InputStatistics(INPUTS)
        statistics.add(make_rows(2000, seed=9).to_batches()[0])
        kept = statistics.document() | {"label": {"column": "late"}}
        self.examples = write_examples(folder / "examples", {"train": make_rows(9)}, kept=kept)
        self.place = folder / "champion/model"
        self.place.mkdir(parents=True)
        self.write_transform()
        record = (str(folder / "champion"), {"by": "hash"}, "0" * 64)
        history.record_run(self.root, NAME, RUN, "2026-11-01", self.examples, *record)

    def write_transform(self, **changes: Any) -> None:
        text = replace(make_transform(), **changes).to_json()
        (self.place / "transform.json").write_text(text)

    def write(self, requests: Sequence[Any], day: str = DAY) -> None:
        """Logs each request with the text of one instance."""
        lines = [line(i, json.dumps(r), day=day) for i, r in enumerate(requests)]
        self.log.write_text("\n".join([*lines, ""]))

    def compare(self, day: str = DAY, **where: str) -> dict[str, Any]:
        """Runs the task, and returns drift.json."""
        out = str(self.folder / "drift")
        spec = validate(self.document).as_json()
        check_drift(spec, str(self.examples), self.root, out, clocks=(f"{day}T09:00Z",), **where)
        return read_manifest(out, "drift.json", "preprocess")

    def sentence(self, **where: str) -> str:
        """Runs the task, which compares nothing, and returns why."""
        drift = self.compare(**where)
        assert not of_served(drift)
        return str(drift["served"]["sentence"])


def of_served(drift: dict[str, Any]) -> list[dict[str, Any]]:
    return [c for c in drift["comparisons"] if c.get("served")]


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def test_requests_as_those_of_training_are_compared_by_column_and_do_not_warn(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    served.write(requests_of(1000, seed=4))
    drift = served.compare()
    [compared] = of_served(drift)
    assert (compared["run"], compared["rows"]) == (RUN, {"before": 2000, "now": 1000})
    assert [column["column"] for column in compared["columns"]] == ["delay", "carrier"]
    checks = [c for column in compared["columns"] for c in column["checks"]]
    assert {c["verdict"] for c in [*checks, *compared["checks"]]} == {"passed"}
    counts = ("requests", "sampled", "rows", "unreadable", "first", "last")
    assert [drift["served"][k] for k in counts] == [1000, 1000, 1000, 0, DAY, DAY]
    assert drift["served"]["columns"]["delay"]["psi"] == pytest.approx(0, abs=0.05)
    sentence = "1,000 requests served from 2026-11-12 to 2026-11-12: 1,000 rows to compare"
    assert f"preprocess: drift: {sentence}\n" in capsys.readouterr().out
    assert drift["served"]["sentence"] == sentence


def test_requests_that_moved_warn_and_never_fail_the_run(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    served.document["drift"] = {"mean": {"fail": 1}, "psi": {"warn": 0.2, "fail": 0.3}}
    served.write(requests_of(1000, shift=40))
    [compared] = of_served(served.compare())
    verdicts = {c["measure"]: c["verdict"] for c in compared["columns"][0]["checks"]}
    assert (verdicts["mean"], verdicts["psi"]) == ("warn", "warn")
    printed = capsys.readouterr().out
    assert (
        "preprocess: drift: in the requests served, against the champion's training data, delay: "
        "mean=" in printed
    )


ONE = {"delay": 1.5, "carrier": "UA"}
OTHER = {"delay": None, "carrier": "AA"}
ARRAYS = [[1.5, "UA"], [None, "AA"]]


@pytest.mark.parametrize(
    "payloads",
    [
        [json.dumps(ONE), json.dumps(OTHER)],
        [json.dumps([ONE, OTHER])],
        [json.dumps({"instances": [ONE, OTHER]})],
        [json.dumps({"instances": [ONE], "parameters": {}}), json.dumps(OTHER)],
        [json.dumps(values) for values in ARRAYS],
        [json.dumps(ARRAYS)],
        [json.dumps({"instances": ARRAYS})],
        [json.dumps({"instances": [ARRAYS[0], OTHER]})],
        [json.dumps({"carrier": "UA", "delay": "1.5"}), json.dumps(OTHER)],
        [json.dumps(ONE), json.dumps(["", "AA"])],
    ],
)
def test_each_form_of_a_payload_gives_the_rows_that_the_server_reads(
    served: Served, payloads: list[str]
) -> None:
    served.log.write_text(line(1, *payloads) + "\n")
    drift = served.compare()
    assert (drift["served"]["rows"], drift["served"]["unreadable"]) == (2, 0)
    [compared] = of_served(drift)
    delay, carrier = compared["columns"]
    missing = {c["measure"]: c["now"] for c in delay["checks"]}["missing"]
    assert missing == "50.00%"
    assert {b["bin"] for b in carrier["bins"] if b["now"]} <= {"UA", "AA", "other values"}


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ("{", "payload 0 is not JSON"),
        ("5", "payload 0 is no instance, no list of them and no body"),
        ("[]", "payload 0 is no instance"),
        ('{"delay": 1, "delay": 2, "carrier": "AA"}', "the key 'delay' stands twice"),
        ('{"delay": 1, "carrier": "AA", "gate": 3}', "instances[0]: unknown input 'gate'"),
        ('{"delay": 1}', "instances[0]: input 'carrier' is absent"),
        ('{"delay": "soon", "carrier": "AA"}', "instances[0].delay: 'soon'"),
        ('[1, "AA", 3]', "instances[0] has 3 values"),
        ('{"delay": [[1]], "carrier": "AA"}', "instances[0].delay: "),
        ("[" * 99_999, "payload 0 is not JSON"),
    ],
)
def test_a_payload_that_the_server_would_refuse_is_counted_and_the_others_are_read(
    served: Served, payload: str, why: str
) -> None:
    good = [line(i, json.dumps(r)) for i, r in enumerate(requests_of(40))]
    served.log.write_text("\n".join([*good[:20], line(99, payload), *good[20:], ""]))
    section = served.compare()["served"]
    assert (section["sampled"], section["rows"], section["unreadable"]) == (41, 40, 1)
    assert why in section["example"]
    assert "of which 1 request cannot be read" in section["sentence"]


def test_a_line_that_a_crash_cut_off_is_counted(served: Served) -> None:
    served.write(requests_of(9))
    served.log.write_text(served.log.read_text() + line(10, json.dumps(ONE))[:70])
    section = served.compare()["served"]
    assert (section["rows"], section["unreadable"]) == (9, 1)


def test_an_input_that_may_be_left_out_is_missing(served: Served) -> None:
    optional = (INPUTS[0], replace(INPUTS[1], optional=True))
    served.write_transform(inputs=optional)
    served.write([{"delay": 1.0}] * 10)
    drift = served.compare()
    assert (drift["served"]["rows"], drift["served"]["unreadable"]) == (10, 0)
    assert drift["served"]["columns"]["carrier"]["missing"] > 0.5


def test_the_order_of_the_requests_and_their_files_change_nothing(served: Served) -> None:
    lines = [line(i, json.dumps(r)) for i, r in enumerate(requests_of(300))]
    lines += [line(1000 + i, "{") for i in range(5)]
    served.log.write_text("\n".join([*lines, ""]))
    first = served.compare()
    random.Random(1).shuffle(lines)  # noqa: S311
    served.log.write_text("\n".join([*lines[:100], ""]))
    request_log.rotated(served.log, 1).write_text("\n".join([*lines[100:], ""]))
    assert served.compare() == first


def test_of_more_requests_the_newest_days_are_read_and_of_these_a_sample(served: Served) -> None:
    lines = [line(i, "{}", day=f"2026-11-{7 + i % 5:02}") for i in range(500)]
    days = datetime.date(2026, 11, 1), datetime.date(2026, 11, 12)

    def sample(most: int) -> tuple[Any, int, list[int]]:
        served.log.write_text("\n".join([*lines, ""]))
        log = FileLog(str(served.log), NAME)
        plan = plan_sample(log, days, most)
        return plan.days, plan.requests, sorted(key for key, _ in sampled_requests(log, plan))

    eleventh, ninth = datetime.date(2026, 11, 11), datetime.date(2026, 11, 9)
    assert sample(500)[0] == (datetime.date(2026, 11, 7), eleventh)
    few = sample(60)
    assert few[:2] == ((eleventh, eleventh), 100)
    assert len(few[2]) == 60
    assert sample(100)[0] == (eleventh, eleventh)
    more = sample(201)
    assert (more[0], more[1], len(more[2])) == ((ninth, eleventh), 300, 201)
    lines.reverse()
    assert (sample(60), sample(201)) == (few, more)


def test_a_sample_of_the_requests_is_said_to_be_one(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "MOST_REQUESTS", 30)
    served.write(requests_of(200))
    section = served.compare()["served"]
    assert (section["requests"], section["sampled"], section["rows"]) == (200, 30, 30)
    assert section["sentence"].startswith("30 requests (of 200) served from 2026-11-12 to")


def test_a_large_request_does_not_outvote_the_others(served: Served) -> None:
    served.log.write_text(line(1, json.dumps({"instances": [ONE] * 5000})) + "\n")
    assert served.compare()["served"]["rows"] == comparison.MOST_INSTANCES


@pytest.mark.parametrize(
    ("window", "first", "last"),
    [
        (None, "2026-11-06", "2026-11-12"),
        ("90d", "2026-11-05", "2026-11-11"),
        ("7d", "2026-11-05", "2026-11-11"),
        ("2d", "2026-11-10", "2026-11-11"),
    ],
)
def test_the_days_are_the_newest_of_the_run_s_window(
    window: str | None, first: str, last: str
) -> None:
    days = comparison.days_of(window, datetime.date(2026, 11, 12))
    assert days == (datetime.date.fromisoformat(first), datetime.date.fromisoformat(last))


def test_requests_of_other_days_and_to_other_models_are_left_out(served: Served) -> None:
    text = json.dumps(ONE)
    lines = [
        line(1, text),
        line(2, text, day="2026-11-06"),
        line(3, text, day="2026-11-05"),
        line(4, text, day="2026-11-13"),
        line(5, text, name="another"),
    ]
    served.log.write_text("\n".join([*lines, ""]))
    section = served.compare()["served"]
    assert (section["requests"], section["first"], section["last"]) == (2, "2026-11-06", DAY)


def no_log(served: Served) -> None:
    served.log.unlink()


def no_request(served: Served) -> None:
    served.write(requests_of(9), day="2026-10-01")


def no_champion(served: Served) -> None:
    Path(history.record_uri(served.root, NAME, "champion")).unlink()


def no_model(served: Served) -> None:
    (served.place / "transform.json").unlink()


def a_table(served: Served) -> None:
    served.document["release"] = {"endpoint": "e", "log": TABLE}


def another_version(served: Served) -> None:
    path = Path(history.record_uri(served.root, NAME, "champion"))
    record = json.loads(path.read_text())
    record["statistics"]["version"] = 1
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (no_log, "requests.jsonl does not exist; make it by `quatrain serve --log`"),
        (no_request, "requests.jsonl has none to hand-made from 2026-11-06 to 2026-11-12"),
        (no_champion, "hand-made has no champion yet"),
        (no_model, "champion/model"),
        (a_table, f"{TABLE} is read by runs on Vertex AI alone, which know the endpoint's project"),
        (another_version, "the statistics of the champion's training data are of version 1"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence_and_no_failure(
    served: Served, change: Callable[[Served], None], sentence: str
) -> None:
    served.write(requests_of(9))
    change(served)
    said = served.sentence()
    assert said.startswith(NOT) and sentence in said
    assert "\n" not in said


def test_a_file_of_this_machine_is_not_looked_for_on_vertex_ai(served: Served) -> None:
    served.write(requests_of(9))
    said = served.sentence(project="my-project", location="europe-west1")
    assert said == f"{NOT}{served.log} is a file of another machine; name a table (bq://)"


def test_without_a_log_in_the_spec_nothing_is_said_of_requests(served: Served) -> None:
    del served.document["release"]
    assert "served" not in served.compare()


class Answers:
    """The container of a deployed model; what it answers does not matter here."""

    def health(self) -> int:
        return 200

    def predict(self, body: bytes) -> tuple[int, Any]:
        return 200, {"predictions": [0.5] * len(json.loads(body)["instances"])}


class Cloud:
    """An emulated endpoint, whose requests are logged to an emulated table."""

    def __init__(self, bigquery: bigquery_emulator.BigQuery) -> None:
        self.bigquery = bigquery
        self.now = datetime.datetime(2026, 11, 12, 7, tzinfo=datetime.UTC)
        self.serving = Serving(lambda model: Answers(), looks=0, now=lambda: self.now)
        self.parent = "projects/my-project/locations/europe-west1"

    def ask(self, verb: str, path: str, body: Any) -> Any:
        code, answer = self.serving.answer(
            verb, f"/v1/{self.parent}/{path}", json.dumps(body).encode()
        )
        assert code == 200, answer
        if answer.get("name", "").rpartition("/operations/")[1]:
            self.serving.answer("GET", f"/v1/{answer['name']}", b"")
        return answer

    def deploy(self, model: str, deployed: str, split: dict[str, int]) -> None:
        """Deploys a version of a model at the endpoint `flights`."""
        container = {"imageUri": IMAGE, "predictRoute": "/p", "healthRoute": "/h"}
        upload = {"displayName": model, "artifactUri": "gs://b/m", "containerSpec": container}
        self.ask("POST", "models:upload", {"modelId": model, "model": upload})
        self.ask(
            "POST",
            "endpoints/flights:deployModel",
            {
                "deployedModel": {
                    "id": deployed,
                    "model": f"{self.parent}/models/{model}",
                    "dedicatedResources": {
                        "machineSpec": {"machineType": "n1-standard-2"},
                        "minReplicaCount": 1,
                    },
                },
                "trafficSplit": split,
            },
        )

    def predict(self, instances: Sequence[Any]) -> None:
        for instance in instances:
            self.now += datetime.timedelta(milliseconds=7)
            self.ask("POST", "endpoints/flights:predict", {"instances": [instance]})

    def publish(self, rows: pa.Table | None = None, **changes: Any) -> None:
        """Fills the table of the log."""
        table = self.serving.log_table() if rows is None else rows
        self.bigquery.tables[PATH] = bigquery_emulator.Table(table, **changes)


@pytest.fixture
def cloud(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    a_table(served)
    served.document["release"]["endpoint"] = "flights"
    with bigquery_emulator.serving() as bigquery:
        key = write_credentials(served.folder / "key.json", bigquery.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery.url)
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", bigquery.address)
        cloud = Cloud(bigquery)
        config = validate(served.document).release.log.as_config()  # type: ignore[union-attr]
        endpoint = {"displayName": "flights", "predictRequestResponseLoggingConfig": config}
        cloud.ask("POST", "endpoints?endpointId=flights", endpoint)
        cloud.deploy(NAME, "11", {"0": 100})
        with vertex.serving(cloud.serving) as address:
            monkeypatch.setattr(deployed_models, "ADDRESS", address)
            yield cloud


ON_VERTEX = {"project": "my-project", "location": "europe-west1"}


def test_an_endpoint_s_own_log_is_compared_as_the_file_of_a_server_here(
    served: Served, cloud: Cloud
) -> None:
    requests = requests_of(200, shift=40)
    cloud.predict(requests)
    cloud.publish()
    drift = served.compare(**ON_VERTEX)
    assert drift["served"]["log"] == TABLE
    assert (drift["served"]["requests"], drift["served"]["rows"]) == (200, 200)
    served.document["release"] = {"log": str(served.log)}
    served.write(requests)
    assert of_served(drift) == of_served(served.compare())
    read = [s.read_session.read_options for s in cloud.bigquery.sessions]
    assert [list(options.selected_fields) for options in read] == [
        ["logging_time", "request_id"],
        ["logging_time", "request_id", "request_payload"],
    ]
    assert {s.parent for s in cloud.bigquery.sessions} == {"projects/my-project"}


def test_only_deployed_versions_of_the_model_and_days_of_the_run_are_read(
    served: Served, cloud: Cloud
) -> None:
    cloud.predict([ONE] * 5)
    cloud.deploy("another", "22", {"11": 0, "0": 100})
    cloud.predict([{"x": 1}] * 7)
    cloud.now += datetime.timedelta(days=1)
    cloud.ask("PATCH", "endpoints/flights?updateMask=trafficSplit", {"trafficSplit": {"11": 100}})
    cloud.predict([ONE] * 3)
    cloud.publish()
    section = served.compare(**ON_VERTEX)["served"]
    assert (section["requests"], section["unreadable"]) == (5, 0)
    assert served.compare("2026-11-13", **ON_VERTEX)["served"]["requests"] == 8
    assert cloud.bigquery.sessions[0].read_session.read_options.row_restriction == (
        "logging_time >= TIMESTAMP '2026-11-06 00:00:00+00' AND logging_time < TIMESTAMP "
        "'2026-11-13 00:00:00+00' AND deployed_model_id IN ('11')"
    )


def test_a_null_in_the_table_is_a_request_without_a_payload(served: Served, cloud: Cloud) -> None:
    cloud.predict([ONE] * 3)
    rows = [{**r, "request_id": None, "request_payload": None} for r in cloud.serving.logged]
    cloud.publish(pa.Table.from_pylist([*cloud.serving.logged, *rows], LOG_SCHEMA))
    section = served.compare(**ON_VERTEX)["served"]
    assert (section["sampled"], section["rows"], section["unreadable"]) == (6, 3, 3)
    assert section["example"].startswith("the request has 0 instances; send")


def no_table(cloud: Cloud) -> None:
    cloud.bigquery.tables.clear()


def forbidden_table(cloud: Cloud) -> None:
    cloud.bigquery.tables[PATH].forbidden = True


def a_view(cloud: Cloud) -> None:
    cloud.bigquery.tables[PATH].kind = "VIEW"


def other_columns(cloud: Cloud) -> None:
    cloud.publish(cloud.serving.log_table().drop_columns(["request_id"]))


def other_types(cloud: Cloud) -> None:
    table = cloud.serving.log_table()
    texts = pa.array(["a"] * table.num_rows)
    cloud.publish(table.set_column(3, "request_id", texts))


def no_rows(cloud: Cloud) -> None:
    cloud.publish(cloud.serving.log_table().slice(0, 0))


def forbidden_endpoint(cloud: Cloud) -> None:
    cloud.serving.faults.append(("get_endpoint", 403, "before"))


def busy_endpoint(cloud: Cloud) -> None:
    cloud.serving.faults.append(("get_endpoint", 503, "before"))


def no_endpoint(cloud: Cloud) -> None:
    cloud.serving.endpoints.clear()


def nothing_deployed(cloud: Cloud) -> None:
    for endpoint in cloud.serving.endpoints.values():
        endpoint.deployed_models = []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (no_table, f"{TABLE} does not exist; send a request to the endpoint"),
        (forbidden_table, f"{TABLE} may not be read"),
        (a_view, f"{TABLE} is a view"),
        (other_columns, f"{TABLE} has no column request_id of a request log"),
        (other_types, f"{TABLE} has columns of other types than a request log"),
        (no_rows, f"{TABLE} has none to hand-made from 2026-11-06 to 2026-11-12"),
        (forbidden_endpoint, "endpoint flights may not be looked up; whoever runs this needs"),
        (busy_endpoint, "endpoint flights cannot be looked up (status 503)"),
        (no_endpoint, "endpoint flights does not exist in my-project, europe-west1"),
        (nothing_deployed, "endpoint flights has no deployed version of hand-made"),
    ],
)
def test_a_log_that_cannot_be_read_is_one_sentence_and_no_failure(
    served: Served, cloud: Cloud, change: Callable[[Cloud], None], sentence: str
) -> None:
    cloud.predict([ONE] * 3)
    cloud.publish()
    change(cloud)
    said = served.sentence(**ON_VERTEX)
    assert said.startswith(NOT + sentence)
    assert "\n" not in said
