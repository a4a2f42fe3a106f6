"""The instances of a request: JSON becomes a typed batch by the rules that training reads by."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import pyarrow as pa

from quatrain.components.errors import DataError, ServedError
from quatrain.components.table.values.bounds import FIRST_S, LAST_S, TYPES, TypedColumn
from quatrain.components.table.values.conversion import USUAL, from_json
from quatrain.components.wording import counted, first_line, near
from quatrain.trainer.features import TIMES, Input
from quatrain.trainer.features.text_format import Spelling

FORM = '{"instances": [{"INPUT": VALUE, ...}, ...]}'
"""The body of a request."""
GZIP = b"\x1f\x8b"
"""The first bytes of a body that a client has compressed."""
MAX_DIGITS = 4300
"""Python refuses to convert a longer whole number, which is infinite as a float64 anyway."""
SHOWN_INPUTS = 20
"""The number of inputs that an error message lists at most."""

MAX_EXACT = 2**53
"""Below it, a float64 is exactly the number that JSON writes."""
_OF_JSON = {
    "string": frozenset({str, type(None)}),
    "bool": frozenset({bool, type(None)}),
    "int": frozenset({int, type(None)}),
    "float": frozenset({int, float, type(None)}),
}
"""The types that JSON gives values of an input which need no conversion."""

Instance: TypeAlias = Mapping[str, Any] | Sequence[Any]
"""The values of the inputs by their names, or in the order of the inputs."""


def read_instances(body: bytes) -> list[Instance]:
    """Reads `{"instances": [{input: value, ...}, ...]}`, or arrays in place of the objects.

    Raises:
        DataError: The body does not have this form.
    """
    try:
        # As UTF-8 always: json.loads would guess UTF-16 or UTF-32, whose codecs are imported late,
        # perhaps from a folder that only root may read.
        value = _parsed(body.removeprefix(codecs.BOM_UTF8).decode())
    except ValueError as error:
        if body.startswith(GZIP):
            raise DataError(f"the body is compressed by gzip; send {FORM} as text") from error
        raise DataError(f"the body is not JSON ({error}); send {FORM}") from error
    instances = value.get("instances") if isinstance(value, dict) else None
    if not isinstance(instances, list) or not instances:
        raise DataError(f"the body must be {FORM} with at least one instance")
    for i, instance in enumerate(instances):
        if not isinstance(instance, dict | list):
            raise DataError(
                f"instances[{i}] must be an object of inputs by name, or an array of their values "
                f"in order"
            )
    return instances


def logged_instances(payloads: Sequence[str]) -> list[Instance]:
    """Reads the instances of a request from the texts that a request log has of it.

    Google documents a payload as a part of the instances "following the Vertex AI prediction
    request protocol", and not what one text holds. So it may be one instance, a list of them, or
    the body of a request.
    https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging

    Raises:
        DataError: A key stands twice in an object.
        ServedError: A text is nothing of that, or there is no instance.
    """
    instances: list[Instance] = []
    for number, payload in enumerate(payloads):
        try:
            value = _parsed(payload)
        except (ValueError, RecursionError) as error:
            raise ServedError(
                f"payload {number} is not JSON ({first_line(error)}); send {FORM}"
            ) from error
        body = value.get("instances") if isinstance(value, dict) else None
        if body is not None and _are_instances(body):
            instances += body
        elif _are_instances(value):
            instances += value
        elif isinstance(value, dict | list) and value:
            instances.append(value)
        else:
            raise ServedError(
                f"payload {number} is no instance, no list of them and no body; send {FORM}"
            )
    if not instances:
        raise ServedError(f"the request has 0 instances; send {FORM}")
    return instances


def _are_instances(value: Any) -> bool:
    """Whether a value is a list of instances; an instance is itself a list of plain values."""
    return (
        isinstance(value, list) and bool(value) and all(isinstance(v, dict | list) for v in value)
    )


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object, parse_int=_whole_number)


def _whole_number(text: str) -> int | float:
    """Returns a whole number of any length."""
    return int(text) if len(text) <= MAX_DIGITS else float(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns a JSON object; of a key that stands twice, none of the values can be trusted.

    Raises:
        DataError: A key stands twice.
    """
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise DataError(f"the key {name!r} stands twice in one object; leave one of them out")
        values[name] = value
    return values


def read_rows(
    instances: Sequence[Instance],
    inputs: tuple[Input, ...],
    spellings: Mapping[str, Spelling] | None = None,
) -> pa.RecordBatch:
    """Returns the instances as a typed batch; null and an absent optional input are missing.

    Args:
        instances: The values of the inputs by name or in order, as JSON has them.
        inputs: The raw inputs of the model.
        spellings: How the values of inputs are written, where that is not the usual way.

    Raises:
        DataError: An instance lacks an input, has an unknown one, or has a value of the wrong type.
    """
    names = [i.name for i in inputs]
    required = [i.name for i in inputs if not i.optional]
    rows = [_by_name(instance, number, inputs) for number, instance in enumerate(instances)]
    for number, instance in enumerate(rows):
        for name in instance:
            if name not in names:
                shown = name[:100]  # a search for the nearest name takes long for a long text
                raise DataError(f"instances[{number}]: unknown input {shown!r}{near(shown, names)}")
        for name in required:
            if name not in instance:
                raise DataError(
                    f"instances[{number}]: input {name!r} is absent; send null if it is missing, "
                    f"or declare its column `optional: true` in the spec"
                )
    spellings = {} if spellings is None else spellings
    columns, faults = {}, []
    for i in inputs:
        column, column_faults = _column(rows, i, spellings.get(i.name, USUAL))
        columns[i.name] = column
        faults += [(int(f.rows[0]), f) for f in column_faults if len(f.rows)]
    if faults:
        number, fault = min(faults, key=lambda pair: pair[0])
        detail = fault.detail if isinstance(fault.detail, str) else fault.detail[0].as_py()
        raise DataError(f"instances[{number}].{detail}; send null if it is missing")
    return pa.record_batch(columns)


def _by_name(instance: Instance, number: int, inputs: Sequence[Input]) -> Mapping[str, Any]:
    """Returns the values of an instance by the names of the inputs.

    Batch jobs of Vertex AI send the rows of CSV files and of BigQuery as arrays. An empty cell of a
    CSV is an empty text there, whatever the type of its column is.

    Raises:
        DataError: An array has more or fewer values than the model has inputs.
    """
    if isinstance(instance, Mapping):
        return instance
    if len(instance) != len(inputs):
        names = [i.name for i in inputs[:SHOWN_INPUTS]] + ["..."] * (len(inputs) > SHOWN_INPUTS)
        raise DataError(
            f"instances[{number}] has {counted(len(instance), 'value')}; send "
            f"{counted(len(inputs), 'value')} in the order of the inputs ({', '.join(names)}), and "
            f"null where one is missing"
        )
    pairs = zip(inputs, instance, strict=True)
    return {i.name: None if value == "" else value for i, value in pairs}


def _column(rows: Sequence[Mapping[str, Any]], declared: Input, spelling: Spelling) -> TypedColumn:
    """Converts the values of an input by the table of conversions, as JSON Lines are."""
    values = [row.get(declared.name) for row in rows]
    if (plain := _plain_values(values, declared.type)) is not None:
        return plain, []
    return converted_values(values, declared, spelling)


def _plain_values(values: list[Any], type_: str) -> pa.Array | None:
    """Returns values that JSON already has in an input's own type, or None where one has not.

    The table of conversions gives the same, at 0.3 ms a column.
    """
    of_json = _OF_JSON.get(type_, frozenset())
    if not of_json.issuperset(map(type, values)):
        return None
    if type_ == "string":
        try:
            return pa.array([value or None for value in values], pa.string())
        except UnicodeEncodeError:  # half of a surrogate pair
            return None
    if type_ != "bool" and not all(v is None or -MAX_EXACT < v < MAX_EXACT for v in values):
        return None
    return pa.array(values, TYPES[type_])


def converted_values(values: list[Any], declared: Input, spelling: Spelling) -> TypedColumn:
    """Returns the values of an input by the table of conversions, and its faults."""
    if declared.type in TIMES and spelling == USUAL:
        values = [_as_text(value, declared.type) for value in values]
    fragments = pa.array([_fragment(value) for value in values], pa.string())
    return from_json(declared.name, fragments, declared.type, spelling)


def _as_text(value: Any, type_: str) -> Any:
    """Returns a number of seconds since 1970, the model's own raw input, as a text in ISO 8601.

    As of a timestamp in Parquet, the date is the day in UTC.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not FIRST_S <= value < LAST_S + 1:  # false for NaN, too
        return value
    time = datetime(1970, 1, 1) + timedelta(microseconds=round(value * 1e6))
    return time.date().isoformat() if type_ == "date" else time.isoformat()


def _fragment(value: Any) -> str:
    """Returns a value as DuckDB cuts it out of a line of JSON."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return f"{value:.1f}"
    return json.dumps(value)
