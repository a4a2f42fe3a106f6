"""Small tables with the shortest way to read them, and the exported models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.source import Source
from quatrain.components.table.block import Block
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.read import read_range
from quatrain.trainer.features.text_format import Spelling
from quatrain.validation.load import validate
from tests.components.handmade import CLASSES, export_model
from tests.emulators import storage


def positions_of(block: Block) -> list[int]:
    """Returns where the good rows of a block stand."""
    return block.batch_positions.to_pylist()


class Read:
    """A table as it is read: typed rows, their positions, and rejected rows."""

    def __init__(
        self,
        source: Source,
        columns: Mapping[str, str],
        range_bytes: int | None = None,
        spellings: Mapping[str, Spelling] = {},
    ) -> None:
        self.ranges = plan_ranges(source, columns, range_bytes, spellings=spellings)
        read = (b for r in self.ranges for b in read_range(r, source, columns, spellings))
        blocks = [b.without_faults() for b in read]
        self.rows = [tuple(r.values()) for b in blocks for r in b.batch.to_pylist()]
        self.positions = [p for b in blocks for p in positions_of(b)]
        self.rejected = [r for b in blocks for r in b.rejected.to_pylist()]

    @property
    def reasons(self) -> list[tuple[int, str]]:
        """The position and reason of each rejected row."""
        return [(r["position"], r["reason"]) for r in self.rejected]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Storage]:
    """Cloud Storage on loopback, for pyarrow, with an empty bucket `b`."""
    with storage.serving() as state:
        key = storage.write_credentials(tmp_path / "key.json", state.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", state.url)
        state.add_bucket("b")
        yield state


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., str]:
    """Writes bytes to a file, and returns its path."""

    def write(data: bytes | str, name: str = "t.csv") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)

    return write


@pytest.fixture
def read(table: Callable[..., str]) -> Callable[..., Read]:
    """Reads a table from its bytes; `columns` is 'a int, b string'."""

    def run(
        data: bytes | str,
        columns: str,
        *,
        name: str = "t.csv",
        range_bytes: int | None = None,
        spellings: Mapping[str, Spelling] = {},
        **source: Any,
    ) -> Read:
        types = dict(c.split() for c in columns.split(", "))
        return Read(Source(uri=(table(data, name),), **source), types, range_bytes, spellings)

    return run


ROWS = 400
HEADER = "day,delay,carrier,arrival,weight"


def delays(rows: int = ROWS) -> str:
    """A table with two carriers, a cancelled flight every 50 rows, and a malformed row at 7."""
    lines = [HEADER]
    for i in range(rows):
        delay = "NA" if i % 50 == 49 else str((i * 37) % 100 - 20)
        arrival = delay if delay == "NA" else str(int(delay) + i % 7)
        lines.append(f"{i % 90},{delay},{'AB'[i % 3 == 0]},{arrival},{1 + i % 2}")
    lines[7] = "6,1x,A,5,1"
    return "\n".join(lines) + "\n"


def model_of(uri: str, **changes: Any) -> ModelSpec:
    """A spec of the table of `delays`; `changes` replace whole sections."""
    return validate(
        {
            "name": "delays",
            "source": {"uri": uri},
            "columns": {
                "day": "int",
                "delay": "int",
                "carrier": "string",
                "arrival": "float",
                "weight": "float",
            },
            "clean": {
                "reject": {"cancelled": "delay IS NULL"},
                "derive": {"late": "arrival >= 15"},
            },
            "label": "late",
            "task": "binary",
            "split": {"by": "hash", "keys": ["day"], "train": 0.6, "validation": 0.2, "test": 0.2},
            "features": [
                {"name": "delay", "from": "delay", "transform": "standardize"},
                {"name": "bucket", "from": "delay", "transform": "bucketize", "buckets": 4},
                {"name": "carrier", "from": "carrier", "transform": "vocabulary"},
            ],
            **changes,
        }
    )


@pytest.fixture(scope="session")
def small_spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """The spec of the small table, with two slices; shared by the tests that do not change it."""
    path = tmp_path_factory.mktemp("small") / "delays.csv"
    path.write_text(delays())
    return model_of(str(path), evaluate={"slices": ["carrier", "day"]})


@pytest.fixture
def delays_spec(table: Callable[..., str]) -> Callable[..., ModelSpec]:
    """Gives the spec of the small table, with changed sections or data."""

    def make(data: str | bytes | None = None, **changes: Any) -> ModelSpec:
        return model_of(table(delays() if data is None else data, "delays.csv"), **changes)

    return make


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An exported model of each task, in `<artifact>/model` as the training job leaves it."""
    root = tmp_path_factory.mktemp("models")
    return {task: export_model(root / task / "model", task) for task in CLASSES}
