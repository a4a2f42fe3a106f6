"""The choices for a batch prediction: where and in what form it writes, and where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quatrain.components.engine.names import LOCAL
from quatrain.components.errors import RunnerError


@dataclass(frozen=True)
class Shards:
    """Where and in what form the predictions of a table are written.

    Attributes:
        out: The folder of the predictions, a path or gs:// uri.
        rejected: The folder of rows that cannot be read; None: such a row ends the prediction.
        form: The format of the shards: parquet or csv.
        table: The table of BigQuery, or its partition, that gets the rows of all shards; or empty.
    """

    out: str
    rejected: str | None = None
    form: str = "parquet"
    table: str = ""


@dataclass(frozen=True)
class EngineChoice:
    """Where a prediction runs.

    Attributes:
        runner: A name of `runners.ENGINES`, or that of another Beam runner.
        options: Beam's options for the runner.
        workers: The ranges that are read at once on this machine, and the batches that are answered
            at once; None for the default.
    """

    runner: str = LOCAL
    options: Mapping[str, Any] = field(default_factory=dict)
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is None:
            return
        if self.runner != LOCAL or self.options:
            raise RunnerError(
                f"--workers belongs to runner local without --runner-option; give {self.runner!r} "
                f"its own, such as --runner-option max_num_workers=N for dataflow"
            )
        if self.workers < 1:
            raise RunnerError(f"--workers is {self.workers}; write at least 1")
