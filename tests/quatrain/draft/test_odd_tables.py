"""`quatrain init` of numbers at the ends of float64, and of names that several columns have."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import SpecError
from quatrain.draft.propose import propose
from tests.quatrain.draft.conftest import Init, csv_text

N = 400
HUGE = 1.7e308

pytestmark = pytest.mark.filterwarnings("error")


def numbers(chance: random.Random, scale: float) -> list[float]:
    return [chance.uniform(-1, 1) * scale for _ in range(N)]


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-160, 1e38, 1e160, 1e200, 1e307, HUGE])
@pytest.mark.parametrize("target", ["amount", "class", "kind"])
def test_inputs_of_any_size_are_profiled_without_a_warning(
    init: Init, chance: random.Random, target: str, scale: float
) -> None:
    x, y = numbers(chance, scale), numbers(chance, 1)
    table = {
        "x": x,
        "w": numbers(chance, scale),
        "odd": [1e300 if i % 3 else v for i, v in enumerate(numbers(chance, 1))],
        "ends": [HUGE if i % 2 else -HUGE for i in range(N)],
        "endless": ["inf" if i % 50 == 0 else v for i, v in enumerate(numbers(chance, scale))],
        "amount": y,
        "class": [int(v > 0) for v in y],
        "kind": ["abc"[int(1.5 + 1.4 * v)] for v in y],
    }
    labels = {"amount", "class", "kind"} - {target}
    document = init({n: c for n, c in table.items() if n not in labels}, target).document
    assert {"x", "w"} <= {f["from"] for f in document["features"]}


@pytest.mark.parametrize("scale", [1e39, 1e200, HUGE])
def test_labels_that_no_float32_holds_end_in_a_sentence(
    init: Init, chance: random.Random, scale: float
) -> None:
    x = numbers(chance, 1)
    with pytest.raises(SpecError, match=r"rows were rejected|too large for float32"):
        init({"x": x, "w": numbers(chance, 1), "y": [v * scale for v in x]}, "y")


@pytest.mark.parametrize("end", ["1e200", "-1.7e308", "inf", "-Infinity"])
def test_one_label_that_no_float32_holds_is_left_out(
    init: Init, chance: random.Random, end: str
) -> None:
    x = numbers(chance, 1)
    y = [end if i == 7 else v + chance.uniform(-1, 1) for i, v in enumerate(x)]
    proposal = init({"x": x, "w": numbers(chance, 1), "y": y}, "y")
    assert proposal.document["task"] == "regression"
    assert {f["from"] for f in proposal.document["features"]} == {"x", "w"}


def test_two_huge_labels_are_classes(init: Init, chance: random.Random) -> None:
    x = numbers(chance, 1)
    y = [HUGE if v + chance.uniform(-1, 1) > 0 else -1e300 for v in x]
    assert init({"x": x, "w": numbers(chance, 1), "y": y}, "y").document["task"] == "binary"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_columns_of_one_name_are_left_out_with_a_remark(
    tmp_path: Path, chance: random.Random, form: str
) -> None:
    x, again, z = (numbers(chance, 1) for _ in range(3))
    y = [int(v + chance.uniform(-1, 1) > 0) for v in z]
    path = tmp_path / f"t.{form}"
    if form == "csv":
        rows = csv_text({"x": x, "z": z, "_": again, "y": y})
        path.write_text(rows.replace("x,z,_,y", "x,z,x,y", 1))
    else:
        columns = [pa.array(c) for c in (x, z, again, y)]
        pq.write_table(pa.Table.from_arrays(columns, names=["x", "z", "x", "y"]), path)
    proposal = propose(str(path), "y", tmp_path / "t.yaml")
    assert [f["from"] for f in proposal.document["features"]] == ["z"]
    assert "2 columns are named 'x', and none of them is read; to use them, give each a name" in (
        " ".join(repr(proposal).split())
    )


def test_a_key_that_stands_twice_in_each_object_ends_in_a_sentence(
    tmp_path: Path, chance: random.Random
) -> None:
    path = tmp_path / "t.jsonl"
    rows = [json.dumps({"x": v, "_": -v, "y": int(v > 0)}) for v in numbers(chance, 1)]
    path.write_text("\n".join(rows).replace('"_"', '"x"') + "\n")
    with pytest.raises(SpecError, match="a key stands twice in the object"):
        propose(str(path), "y", tmp_path / "t.yaml")
