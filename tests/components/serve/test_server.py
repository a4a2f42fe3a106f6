"""The server: how it reads a request, and how it answers a faulty one."""

import datetime
import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quatrain.components.errors import ArtifactError, DataError
from quatrain.components.serve.online.instances import converted_values, read_instances, read_rows
from quatrain.components.serve.online.service import MAX_BODY_BYTES, Service, predict
from quatrain.components.serve.online.version import Slot, Version
from quatrain.components.serve.served_model import ServedModel
from quatrain.components.serve.server import load
from quatrain.trainer.features import Input, raw_inputs
from quatrain.trainer.features.text_format import Spelling
from quatrain.trainer.features.transform import Label, Transform
from tests.emulators import storage as emulator

INPUTS = (
    Input("delay", "float"),
    Input("seats", "int"),
    Input("carrier", "string"),
    Input("sold", "timestamp"),
)
ROW = {"delay": 1.5, "seats": 3, "carrier": "AA", "sold": "1970-01-02T00:00:00Z"}


@pytest.fixture(scope="module")
def service() -> Service:
    def signature(columns: Any, outputs: list[str]) -> dict[str, Any]:
        with np.errstate(over="ignore"):
            delay = columns["delay"].astype(np.float32)
        return dict.fromkeys(outputs, np.stack([1 - delay, delay], 1))

    transform = Transform("binary", Label("late", ("no", "yes")), None, INPUTS, ())
    names = {"serving_default": {i.name: i.name for i in INPUTS}}
    signatures: Any = {"serving_default": signature}
    return Service(Slot(Version(ServedModel(transform, ("no", "yes"), signatures, names))))


def send(service: Service, body: Any, path: str = "/predict", method: str = "POST") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    statuses: list[str] = []
    request = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "CONTENT_LENGTH": str(len(data)),
        "wsgi.input": io.BytesIO(data),
    }
    (answer,) = service(request, lambda status, headers: statuses.append(status))
    return statuses[0], json.loads(answer)


def test_a_damaged_model_is_named_by_its_uri_and_not_by_its_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with emulator.serving() as storage:
        key = emulator.write_credentials(tmp_path / "key.json", storage.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", storage.url)
        storage.add_bucket("b")
        files = {"saved_model.pb": "0a0a", "transform.json": "0a0a"}
        storage.put("gs://b/model/metadata.json", json.dumps({"files": files}).encode())
        storage.put("gs://b/model/transform.json", b"{}")
        storage.put("gs://b/model/saved_model.pb", b"altered")
        with pytest.raises(ArtifactError) as raised:
            load("gs://b/model/")
    assert str(raised.value).startswith(
        "gs://b/model/saved_model.pb is not the file that was exported"
    )


def test_instances_become_raw_inputs_with_missing_values() -> None:
    missing = dict.fromkeys(ROW)
    raw = raw_inputs(read_rows([ROW, missing], INPUTS), INPUTS)
    assert raw["carrier"].to_pylist() == ["AA", ""]
    for name, expected in {"delay": 1.5, "seats": 3.0, "sold": 86_400.0}.items():
        assert raw[name][0] == expected
        assert np.isnan(raw[name][1])


def test_times_are_taken_as_seconds_too() -> None:
    raw = raw_inputs(read_rows([{**ROW, "sold": 86_400.5}], INPUTS), INPUTS)
    assert raw["sold"].tolist() == [86_400.5]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"delay": "late"},
            r"instances\[0\]\.delay: 'late' is not a finite number; send null if it is missing",
        ),
        (
            {"seats": 2.5},
            r"instances\[0\]\.seats: '2\.5' is not an int; send null if it is missing",
        ),
        ({"seats": 10**400}, r"instances\[0\]\.seats: '10+' is beyond 2\*\*53, where"),
        ({"delay": 10**400}, r"instances\[0\]\.delay: 'inf' is not a finite number"),
        (
            {"carrier": 3.5},
            r"instances\[0\]\.carrier: 3\.5 is no JSON value of a column of type str",
        ),
        ({"carrier": "\ud800"}, r"instances\[0\]\.carrier: the value is not valid UTF-8"),
        ({"sold": "yesterday"}, r"instances\[0\]\.sold: 'yesterday' is not an ISO 8601 timestamp"),
        ({"sold": 1e300}, r"instances\[0\]\.sold: '1e\+300' is not an ISO 8601 timestamp"),
        ({"sold": True}, r"instances\[0\]\.sold: 'true' is not an ISO 8601 timestamp"),
        ({"delay": float("inf")}, r"instances\[0\]\.delay: 'inf' is not a finite number"),
        ({"dely": 3.0}, r"instances\[0\]: unknown input 'dely'; did you mean 'delay'\?"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_rows([{**ROW, **change}], INPUTS)


def test_the_first_of_the_wrong_instances_is_named() -> None:
    rows = [ROW, {**ROW, "sold": "x"}, {**ROW, "delay": "x"}]
    with pytest.raises(DataError, match=r"instances\[1\]\.sold"):
        read_rows(rows, INPUTS)


def test_a_number_for_a_date_is_its_day() -> None:
    batch = read_rows([{"day": 86_400.5 * 2}], (Input("day", "date"),))
    assert batch.column("day").to_pylist() == [datetime.date(1970, 1, 3)]


@pytest.mark.parametrize("seconds", [1e300, -62_135_596_801, 253_402_300_800, float("nan")])
def test_a_number_outside_the_years_1_to_9999_is_no_time(seconds: float) -> None:
    with pytest.raises(DataError, match=r"instances\[0\]\.sold: '.*' is not an ISO 8601 timestamp"):
        read_rows([{**ROW, "sold": seconds}], INPUTS)


def test_the_declared_format_and_epoch_hold_for_requests() -> None:
    inputs = (Input("sold", "timestamp"), Input("day", "date"))
    spellings = {"sold": Spelling(epoch="ms"), "day": Spelling("%d.%m.%Y")}
    batch = read_rows([{"sold": 86_400_000, "day": "2.1.1970"}], inputs, spellings)
    day = datetime.datetime(1970, 1, 2)
    assert batch.to_pylist() == [{"sold": day, "day": day.date()}]
    with pytest.raises(DataError, match=r"'1970-01-02' is not a date as %d\.%m\.%Y"):
        read_rows([{"sold": 0, "day": "1970-01-02"}], inputs, spellings)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (b"1" + b"0" * 5000, r"instances\[0\]\.delay: 'inf' is not a finite number"),
        (b"[" * 100_000, "the body is nested too deeply"),
        (b'{"a":' * 100_000, "the body is nested too deeply"),
        (b"1e400", r"instances\[0\]\.delay: 'inf' is not a finite number"),
        (b'"\\ud800"', "the value is not valid UTF-8"),
    ],
)
def test_no_value_however_large_or_deep_is_an_error_of_the_server(
    service: Service, value: bytes, sentence: str
) -> None:
    row = json.dumps(ROW).encode().replace(b"1.5", value)
    status, answer = send(service, b'{"instances": [' + row + b"]}")
    assert status == "400 Bad Request"
    assert re.search(sentence, answer["error"])


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
)
JSON = st.recursive(SCALARS, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=5)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.tuples(*[JSON] * len(ROW)))
def test_any_values_are_answered_or_refused_by_name(
    service: Service, values: tuple[Any, ...]
) -> None:
    for row in [dict(zip(ROW, values, strict=True)), *({**ROW, k: values[0]} for k in ROW)]:
        status, answer = send(service, {"instances": [row]})
        assert status == "200 OK" or answer["error"].startswith("instances[0].")


PLAIN = SCALARS | st.integers(-3, 3) | st.sampled_from(["", "red", "1", "a\0b", 2**53, 2**53 - 1])


@settings(max_examples=300, deadline=None)
@given(
    values=st.lists(PLAIN, min_size=1, max_size=4),
    type_=st.sampled_from(["float", "int", "bool", "string"]),
)
def test_values_that_need_no_conversion_are_what_the_table_of_conversions_gives(
    values: list[Any], type_: Any
) -> None:
    declared = Input("x", type_)
    converted, faults = converted_values(values, declared, Spelling())
    if any(len(fault.rows) for fault in faults):
        with pytest.raises(DataError, match=r"instances\[\d\]\.x"):
            read_rows([{"x": value} for value in values], (declared,))
    else:
        column = read_rows([{"x": value} for value in values], (declared,)).column("x")
        assert column.equals(converted) and column.type == converted.type


def test_an_array_has_the_values_in_the_order_of_the_inputs(service: Service) -> None:
    rows = [{**ROW, "delay": 0.25}, {**ROW, "delay": None, "carrier": ""}]
    arrays = [[0.25, 3, "AA", ROW["sold"]], ["", 3, "", ROW["sold"]]]
    by_name, in_order = (send(service, {"instances": i}) for i in (rows[:1], arrays[:1]))
    assert by_name == in_order and by_name[0] == "200 OK"
    assert read_rows(rows, INPUTS).equals(read_rows(arrays, INPUTS))
    assert read_rows([rows[0], arrays[1]], INPUTS).num_rows == 2


@pytest.mark.parametrize("values", [[], [1.5, 3, "AA"], [1.5, 3, "AA", None, None]])
def test_an_array_of_another_length_is_refused_with_the_order(values: list[Any]) -> None:
    sentence = r"instances\[1\] has \d values?; send 4 values .*\(delay, seats, carrier, sold\)"
    with pytest.raises(DataError, match=sentence):
        read_rows([ROW, values], INPUTS)


def test_a_wrong_value_in_an_array_is_named_as_in_an_object() -> None:
    with pytest.raises(DataError, match=r"instances\[0\]\.seats: '2\.5' is not an int"):
        read_rows([[1.5, 2.5, "AA", None]], INPUTS)


def test_a_key_that_stands_twice_is_refused() -> None:
    with pytest.raises(DataError, match="the key 'delay' stands twice in one object"):
        read_instances(b'{"instances": [{"delay": 1, "delay": 2}]}')


def test_an_optional_input_may_be_left_out_and_is_missing_then() -> None:
    inputs = (Input("delay", "float"), Input("gate", "string", optional=True))
    raw = raw_inputs(read_rows([{"delay": 1.0}, {"delay": 2.0, "gate": "B7"}], inputs), inputs)
    assert raw["gate"].to_pylist() == ["", "B7"]


def test_an_absent_input_is_not_taken_for_a_missing_one() -> None:
    with pytest.raises(DataError, match="input 'carrier' is absent; send null if it is missing"):
        read_rows([{k: v for k, v in ROW.items() if k != "carrier"}], INPUTS)


def test_predictions_are_labelled_and_in_order(service: Service) -> None:
    rows = [{**ROW, "delay": 0.25}, {**ROW, "delay": 0.75}]
    status, answer = send(service, {"instances": rows})
    assert status == "200 OK"
    assert answer["predictions"] == [
        {"predicted_class": "no", "classes": ["no", "yes"], "probabilities": [0.75, 0.25]},
        {"predicted_class": "yes", "classes": ["no", "yes"], "probabilities": [0.25, 0.75]},
    ]


def test_health_and_routes(service: Service) -> None:
    assert send(service, b"", "/health", "GET")[0] == "200 OK"
    assert send(service, b"", "/other", "GET")[0] == "404 Not Found"
    assert send(service, b"", "/predict", "GET")[0] == "405 Method Not Allowed"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "is not JSON"),
        (gzip.compress(b"{}", mtime=0), "the body is compressed by gzip; send"),
        ([1], "instances"),
        ({"instances": []}, "at least one"),
        ({"instances": [3]}, r"instances[0] must be an object"),
        (b"x" * (MAX_BODY_BYTES + 1), "at most 1,500,000"),
    ],
)
def test_a_malformed_body_is_a_400_with_a_sentence(service: Service, body: Any, word: str) -> None:
    status, answer = send(service, body)
    assert status == "400 Bad Request"
    assert word in answer["error"]


def test_a_model_named_by_its_uri_is_copied_and_answers(models: dict[str, Path]) -> None:
    rows = [{"delay": 30.0, "carrier": "UA"}]
    # The model: a score of (30 - 10) / 20, and 0.6 for UA.
    answer = predict(load(models["regression"].as_uri()), rows)
    assert answer == [{"prediction": pytest.approx(1.6)}]
