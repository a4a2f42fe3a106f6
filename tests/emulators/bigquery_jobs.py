"""Load jobs of the small BigQuery: Parquet files, uploaded or of a bucket, into its tables.

It refuses what Google refuses. REST below is short for
https://cloud.google.com/bigquery/docs/reference/rest/v2, PARQUET for
https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from tests.emulators.bigquery import BigQuery
    from tests.emulators.storage import Storage

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,1024}")
"""REST/JobReference."""
UNITS = {4: "YEAR", 6: "MONTH", 8: "DAY", 10: "HOUR"}
"""https://cloud.google.com/bigquery/docs/managing-partitioned-tables#partition_decorators."""
KINDS = {"STRING": pa.types.is_string, "FLOAT": pa.types.is_floating, "INTEGER": pa.types.is_int64}
"""The Arrow type for a field's type: PARQUET#type_conversions."""
PLAIN = re.compile(r"[A-Za-z_]\w{0,299}", re.ASCII)
FLEXIBLE = re.compile(r"[\w&%=+:'<>#| -]{1,300}")
"""https://cloud.google.com/bigquery/docs/schemas#flexible-column-names; a load takes them by
columnNameCharacterMap V2 only (REST/Job#ColumnNameCharacterMap)."""


class Failed(Exception):
    """What ends a request, or the job, with a reason of docs/error-messages."""

    def __init__(self, reason: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.reason, self.status = reason, status

    @property
    def as_json(self) -> dict[str, str]:
        """REST/ErrorProto."""
        return {"reason": self.reason, "message": str(self)}


@dataclass
class Dataset:
    """A dataset: where it is."""

    location: str = "europe-west1"


@dataclass
class Job:
    """A load job, with the bytes of its upload if it has one."""

    project: str
    id: str
    location: str
    load: dict[str, Any]
    labels: dict[str, str]
    created_ms: int
    upload: bytes | None = None
    polls: int = 0
    ended_ms: int = 0
    n_rows: int = 0
    errors: list[dict[str, str]] = field(default_factory=list)


@dataclass
class LoadJobs:
    """The load jobs of a project, and what is to go wrong with the next ones.

    Attributes:
        jobs: Every job by its id.
        slow: How many questions a job answers as RUNNING before it writes.
        denied: Permissions that the caller lacks, such as bigquery.tables.updateData.
        failures: How the next jobs end, by their reason and message.
        lost: How many answers to a new job get lost on the way.
    """

    bigquery: BigQuery
    storage: Storage | None = None
    jobs: dict[str, Job] = field(default_factory=dict)
    slow: int = 0
    denied: set[str] = field(default_factory=set)
    failures: list[tuple[str, str]] = field(default_factory=list)
    lost: int = 0
    _uploads: dict[str, tuple[dict[str, Any], bytearray]] = field(default_factory=dict)

    def start_upload(self, project: str, resource: dict[str, Any]) -> str:
        """https://cloud.google.com/bigquery/docs/reference/api-uploads#resumable."""
        name = f"{project}-{len(self._uploads)}"
        self._uploads[name] = (resource, bytearray())
        return name

    def upload(self, name: str, span: str, data: bytes) -> tuple[int, dict[str, Any] | int]:
        """Takes a chunk; answers with the job, or with 308 and the number of bytes it has.

        A client whose last answer got lost sends the chunk again, and gets the same job.
        """
        resource, taken = self._uploads[name]
        job = self.jobs.get(resource["jobReference"]["jobId"])
        if job and job.upload == bytes(taken):
            return 200, self.resource(job)
        match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", span)
        if match is None or (match[1] and int(match[1]) != len(taken)):
            raise Failed("invalid", f"Invalid Content-Range {span!r}")
        taken += data
        if match[3] == "*" or len(taken) < int(match[3]):
            return 308, len(taken)
        return 200, self.insert(name.rpartition("-")[0], resource, bytes(taken))

    def insert(
        self, project: str, resource: Mapping[str, Any], upload: bytes | None = None
    ) -> dict[str, Any]:
        """REST/jobs/insert: the caller chooses the id, which no job had before."""
        reference = resource["jobReference"]
        load = resource["configuration"]["load"]
        if not JOB_ID.fullmatch(reference["jobId"]):
            raise Failed("invalid", f"Invalid job ID {reference['jobId']!r}")
        self._check("bigquery.jobs.create", f"Project {project}", 403)
        if (load.get("sourceUris") is None) == (upload is None):
            raise Failed("invalid", "Required parameter is missing: sourceUris")
        target = load["destinationTable"]
        name = f"{target['projectId']}:{target['datasetId']}"
        dataset = self.bigquery.datasets.get(name.replace(":", "."))
        if dataset is None:
            raise Failed("notFound", f"Not found: Dataset {name}", 404)
        location = reference.get("location", "US")
        if location != dataset.location:  # the job runs in its own location
            raise Failed("notFound", f"Not found: Dataset {name} was not found in {location}", 404)
        if reference["jobId"] in self.jobs:  # docs/error-messages: duplicate
            message = f"Already Exists: Job {project}:{location}.{reference['jobId']}"
            raise Failed("duplicate", message, 409)
        now = self.bigquery.now_ms()
        labels = resource["configuration"].get("labels", {})
        job = Job(project, reference["jobId"], location, load, labels, now, upload)
        self.jobs[job.id] = job
        if not self.slow:
            self._end(job)
        if self.lost:  # the job is there, and the caller does not know
            self.lost -= 1
            raise Failed("backendError", "The answer got lost", 503)
        return self.resource(job)

    def get(self, job_id: str, location: str) -> dict[str, Any]:
        """REST/jobs/get: outside of the multi-regions, a job is found with its location only."""
        job = self.jobs.get(job_id)
        if job is None or (job.location not in ("US", "EU") and location != job.location):
            raise Failed("notFound", f"Not found: Job {job_id}", 404)
        job.polls += 1
        if not job.ended_ms and job.polls > self.slow:
            self._end(job)
        return self.resource(job)

    def cancel(self, job_id: str, location: str) -> dict[str, Any]:
        """REST/jobs/cancel: it returns at once; the job ends with the reason `stopped`."""
        job = self.jobs[job_id]
        if not job.ended_ms:
            job.errors = [Failed("stopped", "Job cancelled.").as_json]
            job.ended_ms = self.bigquery.now_ms()
        return {"job": self.get(job_id, location)}

    def resource(self, job: Job) -> dict[str, Any]:
        """REST/Job: 64-bit numbers are text."""
        status: dict[str, Any] = {"state": "DONE" if job.ended_ms else "RUNNING"}
        times = {"creationTime": str(job.created_ms), "startTime": str(job.created_ms)}
        statistics: dict[str, Any] = times
        if job.ended_ms:
            statistics = {**times, "endTime": str(job.ended_ms)}
        if job.errors:
            status |= {"errorResult": job.errors[0], "errors": job.errors}
        elif job.ended_ms:
            statistics["load"] = {"outputRows": str(job.n_rows)}
        return {
            "kind": "bigquery#job",
            "jobReference": {"projectId": job.project, "jobId": job.id, "location": job.location},
            "configuration": {"jobType": "LOAD", "load": job.load, "labels": job.labels},
            "status": status,
            "statistics": statistics,
        }

    def _end(self, job: Job) -> None:
        """Writes all rows, or none: REST/Job#JobConfigurationLoad, createDisposition."""
        try:
            if self.failures:
                raise Failed(*self.failures.pop(0))
            files = [job.upload] if job.upload is not None else self._objects(job)
            rows = pa.concat_tables([self._rows(data, job) for data in files])
            self._write(rows, job)
            job.n_rows = rows.num_rows
        except Failed as error:
            job.errors = [error.as_json]
        job.ended_ms = self.bigquery.now_ms()

    def _objects(self, job: Job) -> list[bytes]:
        """REST/Job#JobConfigurationLoad, sourceUris: one * in an uri, behind the bucket."""
        found = []
        for uri in job.load["sourceUris"]:
            bucket, _, name = uri.removeprefix("gs://").partition("/")
            if not uri.startswith("gs://") or "*" in bucket or name.count("*") > 1:
                raise Failed("invalid", f"Invalid source URI {uri}")
            place = self.storage.buckets.get(bucket) if self.storage else None
            if place is None:
                raise Failed("notFound", f"Not found: Bucket {bucket}")
            # https://cloud.google.com/bigquery/docs/batch-loading-data#data-locations
            if job.location not in ("US", place.location):
                message = (
                    "Cannot read and write in different locations: source: {}, destination: {}"
                )
                raise Failed("invalid", message.format(place.location, job.location))
            pattern = re.compile(".*".join(map(re.escape, name.split("*"))))
            names = [n for n in sorted(place.objects) if pattern.fullmatch(n)]
            if not names:
                raise Failed("notFound", f"Not found: URI {uri}")
            found += [place.objects[n].data for n in names]
        return found

    def _rows(self, data: bytes, job: Job) -> pa.Table:
        """Reads a file, whose columns are those of the schema in any order, or fewer."""
        if job.load.get("sourceFormat") != "PARQUET":
            raise Failed("invalid", "only Parquet is loaded here")
        try:
            table = pq.read_table(BytesIO(data))
        except pa.ArrowException as error:
            raise Failed("invalid", f"Error while reading data: {error}") from error
        fields = {f["name"]: f["type"] for f in job.load["schema"]["fields"]}
        names = FLEXIBLE if job.load.get("columnNameCharacterMap") == "V2" else PLAIN
        for name in fields:
            if not names.fullmatch(name):
                raise Failed(
                    "invalid", f'Invalid field name "{name}". Fields must contain only ...'
                )
        if len({name.casefold() for name in fields}) < len(fields):
            raise Failed("invalid", "Duplicate field name in schema")  # docs/schemas#column_names
        for column in table.schema:
            if column.name not in fields:
                raise Failed("invalid", f"no such field: {column.name}")
            if not KINDS[fields[column.name]](column.type):
                raise Failed("invalid", f"Parquet column {column.name!r} has type {column.type}")
        return table.select(list(fields))

    def _write(self, rows: pa.Table, job: Job) -> None:
        """Replaces a table with its schema, or one partition of a table that keeps it."""
        from tests.emulators.bigquery import Table

        if job.load.get("writeDisposition") != "WRITE_TRUNCATE":
            raise Failed("invalid", "only WRITE_TRUNCATE is known here")
        target = job.load["destinationTable"]
        name, _, partition = target["tableId"].partition("$")
        where = f"{target['projectId']}:{target['datasetId']}.{name}"
        path = "projects/{projectId}/datasets/{datasetId}/tables/".format(**target) + name
        table = self.bigquery.tables.get(path)
        asked = job.load.get("timePartitioning")
        if table is None:
            self._check("bigquery.tables.create", f"Dataset {where.rpartition('.')[0]}")
            if partition and not asked:
                message = (
                    "Partitioning specification must be provided in order to create partitioned"
                )
                raise Failed("invalid", f"{message} table")
            if asked and asked["type"] != UNITS[len(partition)]:
                raise Failed("invalid", f"Invalid partition {partition!r}")
            table = Table(rows.slice(0, 0), time_partitioning=asked)
        self._check("bigquery.tables.updateData", f"Table {where}")
        if (table.time_partitioning, table.clustering) != (asked, _clustering(job)):
            # https://cloud.google.com/bigquery/docs/creating-partitioned-tables: it is fixed
            message = "Incompatible table partitioning specification."
            raise Failed(
                "invalid", f"{message} Expects {table.time_partitioning}, input is {asked}"
            )
        if partition and not table.time_partitioning:
            raise Failed("invalid", f"Table {where} is not partitioned")
        if partition:
            if path in self.bigquery.tables and table.rows.schema != rows.schema:
                raise Failed("invalid", f"Provided Schema does not match Table {where}")
            table.partitions[partition] = rows
            table.rows = pa.concat_tables(table.partitions.values())
        else:
            table.rows = rows
        table.modified_ms = self.bigquery.now_ms()
        self.bigquery.tables[path] = table

    def _check(self, permission: str, on: str, status: int = 400) -> None:
        """https://cloud.google.com/bigquery/docs/access-control#bq-permissions."""
        if permission in self.denied:
            raise Failed("accessDenied", f"Access Denied: {on}: {permission} denied", status)


def _clustering(job: Job) -> list[str]:
    return job.load.get("clustering", {}).get("fields", [])


def clock_ms() -> int:
    """Returns the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
