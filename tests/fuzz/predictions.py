"""predict: each row of a file has a prediction, in order, or stands among the rejected ones."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from hypothesis import strategies as st

from quatrain.components.errors import QuatrainError
from quatrain.components.serve.predict import predict
from tests.components.handmade import export_model
from tests.fuzz.door import Door, refusal
from tests.fuzz.mutation import mutated
from tests.fuzz.tables import JSON_TOKENS

_CSVS = [
    b"delay,carrier,id\n1.5,AA,r1\n,UA,r2\n-3,x,r3\n",
    b'id;carrier;delay\r\n1;"A;A";2\r\n2;;3e2\r\n',
    b"carrier,delay\nAA,1\nUA,2",
    b'delay,carrier,id\n"1","U""A","two\nlines"\n2,AA,x\n',
]
_JSONS = [
    b'{"delay": 1.5, "carrier": "AA", "id": 1}\n{"delay": null, "carrier": "", "id": "x"}\n',
    b'{"carrier": "UA", "delay": "2", "id": [1]}\n',
]
_KEEP = st.sampled_from([(), ("id",), ("id", "delay"), ("carrier", "carrier"), ("nothing",)])


@st.composite
def _cases(draw: Any) -> tuple[str, bytes, tuple[str, ...]]:
    name = draw(st.sampled_from(["t.csv", "t.csv", "t.jsonl", "t.tsv"]))
    data = mutated(_JSONS, JSON_TOKENS) if name == "t.jsonl" else mutated(_CSVS)
    return name, draw(data), draw(_KEEP)


def _make_check(folder: Path) -> Callable[[tuple[str, bytes, tuple[str, ...]]], str]:
    model = export_model(folder / "model")

    def outcome(path: Path, keep: tuple[str, ...], out: Path, bad: Path) -> Any:
        for old in (out, bad):
            old.unlink(missing_ok=True)
        try:
            return predict(model, path, out, keep=keep, rejected=bad, trust=True)
        except QuatrainError as error:
            assert not out.exists() and not bad.exists()
            refusal(error)
            return None

    def check(case: tuple[str, bytes, tuple[str, ...]]) -> str:
        name, data, keep = case
        path = folder / name
        path.write_bytes(data)
        out, bad = folder / "out.parquet", folder / "bad.parquet"
        result = outcome(path, keep, out, bad)
        in_csv = outcome(path, keep, folder / "out.csv", folder / "bad.csv")
        assert (result is None) == (in_csv is None)
        if result is None:
            return "refused"
        predictions, rejected = pq.read_table(out), pq.read_table(bad).to_pylist()
        assert (result.rows, result.rejected) == (predictions.num_rows, len(rejected))
        assert in_csv.rows == result.rows and in_csv.rejected == result.rejected
        _check_rejected(data, rejected, folder / "bad.csv")
        _check_answers(predictions, folder / "out.csv", len(keep))
        if not rejected:
            assert predict(model, path, out, keep=keep, trust=True).rows == result.rows
            assert pq.read_table(out).equals(predictions)
        return "read"

    return check


def _check_rejected(data: bytes, rejected: list[dict[str, Any]], in_csv: Path) -> None:
    """Checks that rejected rows stand with their bytes, their place and their line."""
    for row in rejected:
        at = row["position"]
        assert data[at : at + len(row["row"])] == row["row"]
        assert row["line"] == data[:at].count(b"\n") + 1
    with in_csv.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        again = [line["row"].encode("utf-8", "surrogateescape") for line in csv.DictReader(file)]
    assert again == [row["row"] for row in rejected]


def _check_answers(predictions: Any, in_csv: Path, n_kept: int) -> None:
    """Checks that both files of predictions hold the same."""
    options = pacsv.ConvertOptions(
        column_types={f.name: f.type for f in predictions.schema},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    parse = pacsv.ParseOptions(newlines_in_values=True)
    again = pacsv.read_csv(in_csv, convert_options=options, parse_options=parse)
    assert again.num_rows == predictions.num_rows
    assert again.select(["predicted_class"]).equals(predictions.select(["predicted_class"]))


DOORS = (Door("predict", _cases(), _make_check, 150),)
