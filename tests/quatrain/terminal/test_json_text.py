"""What `--json` prints is JSON, whatever a table or a file's name holds."""

import datetime
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from quatrain.components.tiers.pools import Pool
from quatrain.terminal.json_text import json_text
from quatrain.terminal.plain_text import PlainStream


@dataclass
class Row:
    name: str
    values: tuple[float, ...]


def test_rows_paths_times_and_models_become_plain_values():
    value = {
        "rows": [Row("a", (1.5, math.nan, math.inf))],
        "path": Path("a/b"),
        "day": datetime.date(2026, 12, 1),
        "time": datetime.datetime(2026, 12, 1, 3, tzinfo=datetime.UTC),
        "pool": Pool(machine_type="n1-standard-4"),
        1: None,
    }
    assert json.loads(json_text(value)) == {
        "rows": [{"name": "a", "values": [1.5, None, None]}],
        "path": "a/b",
        "day": "2026-12-01",
        "time": "2026-12-01T03:00:00+00:00",
        "pool": {
            "machine_type": "n1-standard-4",
            "replica_count": 1,
            "accelerator_type": None,
            "accelerator_count": None,
            "tpu_topology": None,
        },
        "1": None,
    }


@pytest.mark.parametrize("text", ["a\x1b[2J", "\x9b2J", "abc\u202e\u2066", "größe 😀", "\udcff"])
def test_any_text_comes_back_as_it_was(text):
    stream = io.StringIO()
    print(json_text([text]), file=PlainStream(stream))
    assert json.loads(stream.getvalue()) == [text]
    assert stream.getvalue().isascii()


def test_what_has_no_form_in_json_is_refused():
    with pytest.raises(TypeError):
        json_text({"x": object()})
