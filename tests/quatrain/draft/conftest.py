"""Tables of a few hundred rows, and the specs that `quatrain init` writes for them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from quatrain.draft.propose import Proposal, propose

Init = Callable[..., Proposal]


def csv_text(columns: Mapping[str, Sequence[Any]], delimiter: str = ",") -> str:
    """Returns a table as CSV; values are written as they are."""
    rows = [columns, *zip(*columns.values(), strict=True)]
    return "".join(delimiter.join(map(str, row)) + "\n" for row in rows)


@pytest.fixture
def init(tmp_path: Path) -> Init:
    """Writes a table, as columns or as it is, and infers a spec from it."""

    def run(table: Any, target: str, name: str = "t.csv", delimiter: str = ",") -> Proposal:
        path = tmp_path / name
        if isinstance(table, Mapping):
            table = csv_text(table, delimiter)
        path.write_bytes(table.encode() if isinstance(table, str) else table)
        output = tmp_path / "t.yaml"
        output.unlink(missing_ok=True)
        return propose(str(path), target, output)

    return run


@pytest.fixture
def chance() -> random.Random:
    """The same random numbers in every test."""
    return random.Random(7)  # noqa: S311 - not for secrets
