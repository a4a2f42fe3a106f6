"""A log of requests, as an endpoint of Vertex AI writes it to BigQuery, or `quatrain serve` here.

The columns of the table are those of
https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging; a file has them as
keys of JSON Lines.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from quatrain.components.errors import ServedError
from quatrain.components.table import bigquery
from quatrain.components.times import parse_utc
from quatrain.components.wording import first_line

FILE = "requests.jsonl"
"""The file of a log that is named by its folder."""
ENDPOINT, MODEL, TIME, ID = "endpoint", "deployed_model_id", "logging_time", "request_id"
REQUEST, RESPONSE = "request_payload", "response_payload"
_SCHEMA = pa.schema(
    {
        TIME: pa.timestamp("us", "UTC"),
        ID: pa.decimal128(38, 9),
        REQUEST: pa.list_(pa.string()),
    }
)
_LINES, _BYTES = 1_000, 1 << 24
"""The most lines of a file that become one batch, and the bytes at which it is full."""
MAX_ID = 10**29 - 1
"""The largest whole number of BigQuery's NUMERIC."""
_DAY_US = 86_400 * 10**6
_ANY = np.uint64(2**64 - 1)

Days = tuple[datetime.date, datetime.date]
"""The first day and the last one."""


class Log(Protocol):
    """A log that can be read more than once."""

    def batches(self, days: Days, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields some columns of the requests of some days, in any order."""


@dataclass(frozen=True)
class TableLog:
    """The log of an endpoint, in BigQuery.

    Attributes:
        uri: The table.
        deployed: The ids of the deployed models whose requests are read.
        project: The project that pays for the reading.
    """

    uri: str
    deployed: Sequence[str]
    project: str

    def batches(self, days: Days, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields requests of the deployed models.

        Raises:
            SourceError: The table may not be read, or BigQuery does not answer.
            ServedError: There is no table yet, or it has other columns.
        """
        table = bigquery.find_table(self.uri)
        if table is None:
            raise ServedError(
                f"{self.uri} does not exist; send a request to the endpoint, and Vertex AI makes it"
            )
        if lacking := sorted({MODEL, *_SCHEMA.names} - set(table.columns)):
            raise ServedError(
                f"{self.uri} has no column {lacking[0]} of a request log; name another table"
            )
        first, last = (day.isoformat() for day in (days[0], days[1] + datetime.timedelta(days=1)))
        ids = ", ".join(f"'{id_}'" for id_ in self.deployed)
        rows = (
            f"{TIME} >= TIMESTAMP '{first} 00:00:00+00' AND {TIME} < TIMESTAMP '{last} "
            f"00:00:00+00' AND {MODEL} IN ({ids})"
        )
        session = bigquery.open_session(self.uri, columns, 0, 1, self.project, rows)
        for stream in session.streams:
            for batch in bigquery.read_stream(self.uri, stream):
                yield self._typed(batch)

    def _typed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            return pa.record_batch(
                {n: batch.column(n).cast(_SCHEMA.field(n).type) for n in batch.schema.names}
            )
        except pa.ArrowException as error:
            raise ServedError(
                f"{self.uri} has columns of other types than a request log ({first_line(error)}); "
                f"name another table"
            ) from error


@dataclass
class FileLog:
    """The log of `quatrain serve`: a file, and those that it was rotated to.

    Attributes:
        path: The file, or the folder that it is in.
        name: The name of the model whose requests are read.
        broken: How many lines of the last reading are no request; one that was cut off by a crash
            is such a line.
    """

    path: str
    name: str
    broken: int = field(default=0, init=False)

    def batches(self, days: Days, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields requests to the model.

        Raises:
            ServedError: There is no file, or one may not be read.
        """
        self.broken = 0
        if not (files := log_files(file_of(self.path))):
            raise ServedError(f"{self.path} does not exist; make it by `quatrain serve --log`")
        for file in files:
            try:
                with file.open("rb") as lines:
                    for requests in self._requests(lines, days):
                        yield pa.RecordBatch.from_pylist(requests, _SCHEMA).select(list(columns))
            except FileNotFoundError:  # was rotated away meanwhile
                continue
            except PermissionError as error:
                raise ServedError(
                    f"{file} may not be read by this account; run as its owner"
                ) from error

    def _requests(self, lines: Iterator[bytes], days: Days) -> Iterator[list[dict[str, Any]]]:
        """Yields the requests of a file, some at a time."""
        requests: list[dict[str, Any]] = []
        n_bytes = 0
        for line in lines:
            try:
                endpoint, request = _read_line(line)
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                self.broken += 1
                continue
            if endpoint == self.name and days[0] <= request[TIME].date() <= days[1]:
                requests.append(request)
                n_bytes += len(line)
            if len(requests) == _LINES or n_bytes > _BYTES:
                yield requests
                requests, n_bytes = [], 0
        if requests:
            yield requests


def _read_line(line: bytes) -> tuple[str, dict[str, Any]]:
    """Returns the endpoint and the request of a line.

    Raises:
        ValueError: It is cut off, or no request; as KeyError and TypeError.
    """
    row = json.loads(line)
    payloads, id_ = row[REQUEST], int(row[ID])
    if not isinstance(payloads, list) or abs(id_) > MAX_ID:
        raise TypeError
    for payload in payloads:
        payload.encode()  # half of a surrogate pair is no text
    return str(row[ENDPOINT]), {TIME: parse_utc(row[TIME]), ID: id_, REQUEST: payloads}


def file_of(path: str) -> Path:
    """Returns the file of a log that is named by itself or by its folder."""
    named = Path(path)
    return named / FILE if path.endswith(os.sep) or named.is_dir() else named


def rotated(file: Path, number: int) -> Path:
    """Returns what a file of a log is called once `number` newer ones were begun."""
    return file.with_name(f"{file.name}.{number}") if number else file


def log_files(file: Path) -> list[Path]:
    """Returns the files of a log that exist, the newest first."""
    return [f for n in range(100) if (f := rotated(file, n)).is_file()]


@dataclass(frozen=True)
class Sample:
    """Which requests of a log are read.

    Attributes:
        days: The first and last day; None if there is no request.
        requests: The number of requests of these days.
        most: The largest key of a request that is read.
    """

    days: Days | None
    requests: int
    most: np.uint64


def plan_sample(log: Log, days: Days, most: int) -> Sample:
    """Chooses the newest days that have enough requests, and of these a sample if they have more.

    The sample follows from the ids and times of the requests, so it is the same in whichever order
    they are read.

    Args:
        log: The log.
        days: The days.
        most: The most requests to read.
    """
    counts: dict[int, int] = {}
    smallest: dict[int, np.ndarray] = {}
    for batch in log.batches(days, [TIME, ID]):
        numbers = _times(batch) // _DAY_US
        keys = request_keys(batch)
        for day in np.unique(numbers).tolist():
            of_day = keys[numbers == day]
            counts[day] = counts.get(day, 0) + len(of_day)
            former = smallest.get(day, np.empty(0, np.uint64))
            smallest[day] = np.sort(np.concatenate([former, of_day]))[:most]
    newest = sorted(counts, reverse=True)
    sums = np.cumsum([counts[day] for day in newest])
    chosen = newest[: int(np.searchsorted(sums, most)) + 1]
    if not chosen:
        return Sample(None, 0, _ANY)
    keys = np.sort(np.concatenate([smallest[day] for day in chosen]))
    bound = keys[most - 1] if sums[len(chosen) - 1] > most else _ANY
    epoch = datetime.date(1970, 1, 1)
    first, last = (epoch + datetime.timedelta(days=d) for d in (chosen[-1], chosen[0]))
    return Sample((first, last), int(sums[len(chosen) - 1]), np.uint64(bound))


def sampled_requests(log: Log, sample: Sample) -> Iterator[tuple[int, list[str]]]:
    """Yields the key and the payloads of each request of a sample, in any order."""
    if sample.days is None:
        return
    for batch in log.batches(sample.days, [TIME, ID, REQUEST]):
        keys = request_keys(batch)
        is_read = keys <= sample.most
        payloads = batch.column(REQUEST).filter(pa.array(is_read)).to_pylist()
        yield from zip(keys[is_read].tolist(), [p or [] for p in payloads], strict=True)


def _times(batch: pa.RecordBatch) -> np.ndarray:
    """Returns when requests were logged, in microseconds since 1970, `[N] int64`."""
    times = batch.column(TIME).cast(pa.int64()).fill_null(0)
    return np.asarray(times.to_numpy(zero_copy_only=False), np.int64)


def request_keys(batch: pa.RecordBatch) -> np.ndarray:
    """Returns a number for each request that looks random and follows from it, `[N] uint64`.

    It is the mix of splitmix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number
    generators") of the id and the time.
    """
    ids = batch.column(ID).fill_null(0)
    halves = np.frombuffer(ids.buffers()[1], np.uint64).reshape(-1, 2)
    low = halves[ids.offset : ids.offset + len(ids), 0]
    key = low ^ (_times(batch).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(key ^ (key >> np.uint64(31)))
