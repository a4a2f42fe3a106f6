"""init: whatever the table, it writes a spec that check accepts on the same rows, or refuses."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from quatrain.components.errors import QuatrainError
from quatrain.draft.propose import propose
from quatrain.validation.load import load_spec
from quatrain.validation.sample import check as check_rows
from tests.fuzz.door import Door, refusal
from tests.fuzz.mutation import mutated

_NAMES = [
    *(
        "y",
        "id",
        "price",
        "Date",
        "customer id",
        "a,b",
        'q"q',
        "é",
        "x" * 70,
        "label",
        "year",
        "month",
    ),
    *(
        "day",
        "SELECT",
        "a.b",
        "%",
        "#",
        "null",
        "true",
        "5",
        "_",
        "Y",
        "weight",
        "é́",
        "a\tb",
        "zip",
    ),
]
_KINDS: dict[str, Callable[[random.Random, int], str]] = {
    "number": lambda r, i: str(r.randrange(100)),
    "real": lambda r, i: f"{r.gauss(0, 3):.3f}",
    "amount": lambda r, i: r.choice(["1,5", "2.500,00", "$3", "4 EUR", "5%", "1 000"]),
    "category": lambda r, i: r.choice(["red", "green", "blue", "é", "a,b", 'x"y']),
    "bool": lambda r, i: r.choice(["yes", "no"]),
    "binary": lambda r, i: r.choice("01"),
    "day": lambda r, i: f"2013-{i // 20 % 12 + 1:02}-{r.randrange(1, 29):02}",
    "time": lambda r, i: f"{r.randrange(1, 29):02}/{r.randrange(1, 13):02}/13 {i % 24:02}:00",
    "epoch": lambda r, i: str(1370000000 + 86400 * i),
    "id": lambda r, i: f"k{i}",
    "row": lambda r, i: str(i),
    "person": lambda r, i: f"p{i // 4}",
    "constant": lambda r, i: "same",
    "empty": lambda r, i: "",
    "text": lambda r, i: " ".join(r.choice(["good", "bad", "very", "not"]) for _ in range(6)),
    "code": lambda r, i: f"{r.randrange(99999):05}",
    "huge": lambda r, i: str(10**17 + r.randrange(9)),
    "odd": lambda r, i: r.choice(
        ["nan", "inf", "NULL", "-", "?", "1e400", "2013-02-30", " ", "0x1"]
    ),
    "mixed": lambda r, i: r.choice(["1", "2.5", "x", "", "2013-01-01"]),
    "place": lambda r, i: f"{r.uniform(-90, 90):.4f}",
}


@dataclass(frozen=True)
class Table:
    """A table by the names and kinds of its columns.

    Attributes:
        columns: The name and kind of each column.
        rows: The number of rows.
        seed: The seed of the values.
        delimiter: The delimiter.
        odd: The share of cells that are odd.
        sorted: Whether rows are sorted by the first column.
    """

    columns: list[tuple[str, str]]
    rows: int
    seed: int
    delimiter: str
    odd: float
    sorted: bool

    @property
    def data(self) -> bytes:
        """The bytes of the file."""
        chance = random.Random(self.seed)  # noqa: S311 - reproducible, not secret
        rows = [
            [
                _KINDS["odd" if chance.random() < self.odd else kind](chance, i)
                for _, kind in self.columns
            ]
            for i in range(self.rows)
        ]
        if self.sorted:
            rows.sort()
        lines = [[name for name, _ in self.columns], *rows]
        return "".join(self.delimiter.join(map(self._cell, line)) + "\n" for line in lines).encode()

    def _cell(self, text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if set(text) & {'"', self.delimiter} else text


_TABLES = st.builds(
    Table,
    st.lists(
        st.tuples(st.sampled_from(_NAMES), st.sampled_from(list(_KINDS))),
        min_size=3,
        max_size=7,
        unique_by=lambda column: column[0],
    ),
    st.sampled_from([5, 60, 300, 300, 600, 600]),
    st.integers(0, 999),
    st.sampled_from([",", ",", ";", "\t", "|"]),
    st.sampled_from([0, 0, 0.002, 0.03, 0.3]),
    st.booleans(),
)


@st.composite
def _cases(draw: Any) -> tuple[bytes, str]:
    """Returns a file and its target; some files are damaged after they were written."""
    table = draw(_TABLES)
    target = draw(st.sampled_from([*(name for name, _ in table.columns), "absent"]))
    return draw(mutated([table.data], most=draw(st.sampled_from([0, 0, 2])))), target


def _make_check(folder: Path) -> Callable[[tuple[bytes, str]], str]:
    data, path = folder / "rows.csv", folder / "rows.yaml"

    def check(case: tuple[bytes, str]) -> str:
        content, target = case
        data.write_bytes(content)
        path.unlink(missing_ok=True)
        try:
            proposal = propose(str(data), target, path)
        except QuatrainError as error:
            assert not path.exists()
            return refusal(error)
        spec = load_spec(path)
        assert spec == proposal.spec
        assert not check_rows(spec).problems
        return "a spec"

    return check


DOORS = (Door("init", _cases(), _make_check, 200),)
