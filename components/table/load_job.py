"""Replaces the rows of a BigQuery table, or of one of its partitions, by one load job.

A load job writes all rows of its files or none ("one atomic update upon job completion":
https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationLoad). Its id follows
from the table and the content of the files. So a repeat after a crash finds the job that the first
try began, and two processes with the same rows share one job.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from quatrain.components.buckets import HERE
from quatrain.components.errors import SourceError
from quatrain.components.login import LOGIN, check_login
from quatrain.components.specification.predict import DESTINATION
from quatrain.components.storage import is_remote
from quatrain.components.table.bigquery import TIMEOUT_S
from quatrain.components.wording import a_or_an, first_line

_PARTITIONS = {4: "YEAR", 6: "MONTH", 8: "DAY", 10: "HOUR"}
"""How a table is partitioned, by the number of digits that name a partition:
https://cloud.google.com/bigquery/docs/managing-partitioned-tables#partition_decorators."""
_TYPES = {pa.string(): "STRING", pa.float32(): "FLOAT"}
"""BigQuery's type for each type of a prediction's columns:
https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet#type_conversions."""
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
_FLEXIBLE_NAME = re.compile(r"[\w&%=+:'<>#| -]{1,300}")
"""https://cloud.google.com/bigquery/docs/schemas#flexible-column-names."""
_RESERVED = re.compile(
    r"_TABLE_|_FILE_|_PARTITION|_ROW_TIMESTAMP|__ROOT__|_COLIDENTIFIER", re.IGNORECASE
)
"""How no column's name begins: https://cloud.google.com/bigquery/docs/schemas#column_names."""
_ROLES = "roles/bigquery.dataEditor on the dataset, and roles/bigquery.jobUser in the project"
_WAYS_OUT = {
    "accessDenied": f"whoever writes it needs {_ROLES}",
    "quotaExceeded": "wait until the quota is renewed, or ask Google for more",
    "rateLimitExceeded": "try again later",
    "stopped": "somebody cancelled it; run again",
}
"""What to do about a job that failed, by its reason:
https://cloud.google.com/bigquery/docs/error-messages."""


@dataclass(frozen=True)
class Destination:
    """A table that exists or is to be made, or one of its partitions.

    Attributes:
        uri: bq://project.dataset.table, for a partition with $ and its digits.
        payer: The project of the load job.
        location: The location of its dataset.
        schema: The columns of the rows.
        clustering: The columns by which the rows of the table are sorted, as it is.
    """

    uri: str
    payer: str
    location: str
    schema: pa.Schema
    clustering: tuple[str, ...] = field(default=())

    @property
    def table(self) -> str:
        """The table or the partition, as the client names it."""
        return self.uri.removeprefix("bq://")

    @property
    def partition(self) -> str:
        """The digits of the partition; empty for the whole table."""
        return self.uri.partition("$")[2]


def check_table_uri(uri: str) -> None:
    """Checks the uri of a table that is to be written.

    Raises:
        SourceError: It names no table, or no partition by time.
    """
    match = DESTINATION.fullmatch(uri)
    if match is None or (match[4] and len(match[4]) not in _PARTITIONS):
        raise SourceError(
            f"{uri} is no table to write to; write it as bq://project.dataset.table, or with a "
            f"partition as bq://project.dataset.table$20130701"
        )


def find_destination(uri: str, schema: pa.Schema, payer: str = "") -> Destination:
    """Checks that rows can be loaded into a table, before they are computed.

    Args:
        uri: The table, or a partition of it.
        schema: The columns of the rows.
        payer: The project of the load job; by default the table's own.

    Raises:
        SourceError: There is no such dataset, the table is a view or is partitioned in another
            way, its columns are others, or these credentials may not see it.
    """
    from google.api_core.exceptions import NotFound

    check_table_uri(uri)
    _check_names(uri, schema)
    check_login(uri)
    project, dataset, name, partition = DESTINATION.fullmatch(uri).groups()  # type: ignore[union-attr]
    payer = project if payer in ("", HERE) else payer
    with _refusals(uri):
        client = _client(payer)
        try:
            location = client.get_dataset(f"{project}.{dataset}", timeout=TIMEOUT_S).location
        except NotFound as error:
            raise SourceError(
                f"{uri} cannot be written: there is no dataset {project}.{dataset}; create it in "
                f"the region of the bucket, by bq mk --location=REGION {project}:{dataset}"
            ) from error
        try:
            table = client.get_table(f"{project}.{dataset}.{name}", timeout=TIMEOUT_S)
        except NotFound:
            return Destination(uri, payer, location, schema)
    _check_kind(uri, table, partition)
    if partition:
        _check_columns(uri, table, schema)
    clustering = tuple(table.clustering_fields or ())
    return Destination(uri, payer, location, schema, clustering)


def load(destination: Destination, files: str, content: str) -> tuple[str, int]:
    """Replaces the rows of a table by those of Parquet files, and returns the job and its rows.

    Args:
        destination: The table, from `find_destination`.
        files: The path of one file; or the uri of many in a bucket, with one * in it.
        content: A digest of what the files hold, in which the same rows are the same.

    Raises:
        SourceError: BigQuery refuses the job, or it failed; the table is as it was.
    """
    from google.api_core.exceptions import Conflict

    uri = destination.uri
    with _refusals(uri):
        client = _client(destination.payer)
        for number in itertools.count(1):
            job_id = _job_id(destination, content, number)
            job, is_own = _find(client, destination, job_id), False
            if job is None:
                try:
                    job, is_own = _begin(client, destination, files, job_id), True
                except Conflict:  # another process was faster, or the first answer was lost
                    if (job := _find(client, destination, job_id)) is None:
                        raise
            _wait(job)
            if job.error_result and is_own:
                raise SourceError(_sentence(uri, job))
            if not job.error_result and (is_own or _is_unchanged(client, destination, job)):
                return job_id, int(job.output_rows or 0)
    raise AssertionError("unreachable")


def _check_names(uri: str, schema: pa.Schema) -> None:
    """Checks that BigQuery takes the names of the columns, in which case does not count."""
    names: dict[str, str] = {}
    for name in schema.names:
        if not _FLEXIBLE_NAME.fullmatch(name) or _RESERVED.match(name):
            raise SourceError(
                f"{uri} cannot have the column {name!r}, whose name BigQuery refuses; write the "
                f"predictions to files, or rename the column or the class"
            )
        if (other := names.setdefault(name.casefold(), name)) != name:
            raise SourceError(
                f"{uri} cannot have both {other!r} and {name!r}, which BigQuery takes for one "
                f"name; write the predictions to files, or rename a column or a class"
            )


def _check_kind(uri: str, table: Any, partition: str) -> None:
    """Checks that a table is one, and is partitioned as the uri says."""
    whole = uri.partition("$")[0]
    if table.table_type != "TABLE":
        raise SourceError(
            f"{whole} is {a_or_an(table.table_type.lower())}, into which no rows are loaded; name "
            f"another table"
        )
    by_time, by_range = table.time_partitioning, table.range_partitioning
    kind = by_time.type_ if by_time else ""
    column = by_time.field if by_time else by_range.field if by_range else None
    if column:
        raise SourceError(
            f"{whole} is partitioned by its column {column!r}; name a table that "
            f"is partitioned by the time of ingestion, or one without partitions"
        )
    if not partition and kind:
        raise SourceError(
            f"{whole} is partitioned by {kind.lower()}, and all its partitions would be replaced; "
            f"name one, such as {whole}$20130701"
        )
    if partition and _PARTITIONS[len(partition)] != kind:
        how = f"by {kind.lower()}" if kind else "not at all"
        raise SourceError(
            f"{uri} is a partition by {_PARTITIONS[len(partition)].lower()}, and the table is "
            f"partitioned {how}; name another table"
        )


def _check_columns(uri: str, table: Any, schema: pa.Schema) -> None:
    """Checks that a table, whose other partitions stay, has the columns of the rows."""
    there = {f.name.casefold(): f.field_type for f in table.schema}
    here = {f.name.casefold(): _TYPES[f.type] for f in schema}
    for name in schema.names:
        if name.casefold() not in there:
            raise SourceError(
                f"{uri} has no column {name!r}, which the predictions have; add it by ALTER TABLE "
                f"... ADD COLUMN, or name another table"
            )
    for name, kind in there.items():
        if name not in here:
            raise SourceError(
                f"{uri} has a column {name!r}, which the predictions do not have; keep it by "
                f"--keep, or name another table"
            )
        if here[name] not in (kind, {"FLOAT64": "FLOAT"}.get(kind)):
            raise SourceError(
                f"{uri} has the column {name!r} as {kind}, and the predictions as {here[name]}; "
                f"name another table"
            )


def _client(project: str, location: str | None = None) -> Any:
    from google.cloud import bigquery

    return bigquery.Client(project=project, location=location)


def _job_id(destination: Destination, content: str, number: int) -> str:
    """Returns the id of the n-th job that loads these rows into this table."""
    columns = [f"{f.name}: {f.type}" for f in destination.schema]
    text = "\n".join([destination.uri, content, *columns])
    return f"quatrain-predict-{hashlib.sha256(text.encode()).hexdigest()[:40]}-{number}"


def _find(client: Any, destination: Destination, job_id: str) -> Any:
    """Returns the job of an id, or None if there is none."""
    from google.api_core.exceptions import NotFound

    try:
        return client.get_job(job_id, location=destination.location, timeout=TIMEOUT_S)
    except NotFound:
        return None


def _begin(client: Any, destination: Destination, files: str, job_id: str) -> Any:
    """Starts the job, of files in a bucket or of one that is uploaded."""
    where: dict[str, Any] = {"job_id": job_id, "location": destination.location}
    config = _configuration(destination)
    if is_remote(files):
        return client.load_table_from_uri(
            files, destination.table, job_config=config, timeout=TIMEOUT_S, **where
        )
    with Path(files).open("rb") as file:
        return client.load_table_from_file(
            file, destination.table, job_config=config, timeout=TIMEOUT_S, **where
        )


def _configuration(destination: Destination) -> Any:
    from google.cloud import bigquery

    schema = [bigquery.SchemaField(f.name, _TYPES[f.type]) for f in destination.schema]
    config = bigquery.LoadJobConfig(
        source_format="PARQUET",
        write_disposition="WRITE_TRUNCATE",
        create_disposition="CREATE_IF_NEEDED",
        schema=schema,
        labels={"quatrain": "predict"},
    )
    if not all(_PLAIN_NAME.fullmatch(f.name) for f in schema):
        config.column_name_character_map = "V2"
    if destination.partition:
        kind = _PARTITIONS[len(destination.partition)]
        config.time_partitioning = bigquery.TimePartitioning(type_=kind)
    if destination.clustering:
        config.clustering_fields = list(destination.clustering)
    return config


def _wait(job: Any) -> None:
    """Waits for the end of a job; if this process is interrupted, the job is cancelled."""
    from google.api_core.exceptions import GoogleAPICallError

    try:
        job.result()
    except GoogleAPICallError:
        if not job.error_result:  # the question failed, not the job
            raise
    except BaseException:
        with suppress(Exception):  # the first error is the one that counts
            job.cancel(timeout=TIMEOUT_S)
        raise


def _is_unchanged(client: Any, destination: Destination, job: Any) -> bool:
    """Whether a table still is as an earlier job left it."""
    from google.api_core.exceptions import NotFound

    try:
        table = client.get_table(destination.table.partition("$")[0], timeout=TIMEOUT_S)
    except NotFound:
        return False
    return bool(table.modified <= job.ended)


def _sentence(uri: str, job: Any) -> str:
    """Returns the message about a job that failed, with every error that BigQuery lists."""
    errors: list[Mapping[str, str]] = [job.error_result, *(job.errors or ())]
    messages = list(dict.fromkeys(e.get("message", "").rstrip(".") for e in errors))
    reason = job.error_result.get("reason", "")
    way_out = _WAYS_OUT.get(reason, "mend that, then run again")
    return (
        f"{uri} was not written: BigQuery's job {job.job_id} failed ({reason}: "
        f"{'; '.join(messages[:3])}); {way_out}"
    )


@contextmanager
def _refusals(uri: str) -> Iterator[None]:
    """Raises the errors of Google's client as ours, each as one sentence with the way out."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (exceptions.Unauthorized, GoogleAuthError) as error:
        raise SourceError(f"{uri} may not be written ({first_line(error)}); {LOGIN}") from error
    except exceptions.Forbidden as error:
        reason = (error.errors or [{}])[0].get("reason", "accessDenied")
        way_out = _WAYS_OUT.get(reason, _WAYS_OUT["accessDenied"])
        raise SourceError(f"{uri} may not be written ({first_line(error)}); {way_out}") from error
    except (exceptions.GoogleAPICallError, exceptions.RetryError, OSError) as error:
        raise SourceError(
            f"{uri} cannot be written: {first_line(error)}; try again later"
        ) from error
