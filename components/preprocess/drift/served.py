"""The requests that a model has answered, compared with what its champion was trained on.

Nothing about a log fails a run: what was served is no input of the training, and a model that is
trained anew is the remedy for drift, not its victim.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from quatrain.components.buckets import HERE
from quatrain.components.errors import DataError, QuatrainError, ServedError
from quatrain.components.preprocess.drift.inputs import InputStatistics, compare_with_champion
from quatrain.components.serve.deployed_models import deployed_ids
from quatrain.components.serve.online.instances import Instance, logged_instances, read_rows
from quatrain.components.serve.request_log import (
    Days,
    FileLog,
    Log,
    Sample,
    TableLog,
    plan_sample,
    sampled_requests,
)
from quatrain.components.serve.served_model import on_this_machine, read_transform
from quatrain.components.specification.release import RequestLog
from quatrain.components.specification.schema import Limit, ModelSpec
from quatrain.components.versions import model_of
from quatrain.components.wording import counted
from quatrain.trainer.features.transform import Transform

MOST_DAYS = 7
"""The newest days that are read: a week has each of its days once."""
MOST_REQUESTS = 20_000
"""The most requests that are read. Chance alone moves a share in so many rows by at most 2 %."""
MOST_INSTANCES = 100
"""Of a request with more instances, so many are read, so that a large one does not outvote all."""
AT_ONCE = 2_000
"""The instances that become one batch."""
MAX_EXAMPLE = 300
NOT_COMPARED = "the requests served were not compared"


def add_served(
    drift: dict[str, Any],
    model: ModelSpec,
    champion: Mapping[str, Any] | None,
    *,
    root: str,
    project: str,
    location: str,
    day: datetime.date,
) -> None:
    """Adds the comparison of the requests served to the content of drift.json.

    Without a log in the spec, it does nothing.

    `drift["served"]` has the log, the days, how many requests were made (`requests`), how many of
    them a sample has (`sampled`), its rows, how many cannot be read and why one cannot, the value
    of each measure by column, and in a sentence what was compared, or why nothing was. The
    comparison itself stands beside those with earlier runs, with the key `served`.

    Args:
        drift: The content, which is changed in place.
        model: The spec.
        champion: The record of the champion; None without one.
        root: The folder of all runs.
        project: The project of the job.
        location: The region of the job.
        day: The day of the run.
    """
    release = model.release
    if release is None or release.log is None:
        return
    uri = release.log.uri
    served: dict[str, Any] = {"log": uri, "columns": {}}
    days = days_of(model.source.window, day)
    try:
        if champion is None:
            raise ServedError(f"{model.name} has no champion yet; run until one is promoted")
        log = open_log(release.log, release.endpoint or "", model.name, project, location)
        sample = plan_sample(log, days, MOST_REQUESTS)
        if sample.days is None:
            raise ServedError(
                f"{uri} has none to {model.name} from {days[0]} to {days[1]}; send some, or look "
                f"whether they are logged"
            )
        with on_this_machine(f"{model_of(root, model.name, champion)}/model") as folder:
            transform = read_transform(folder)
        requests = ServedRequests(transform)
        requests.read(log, sample)
        served |= requests.as_json(sample.days, sample.requests, getattr(log, "broken", 0))
        if requests.rows:
            comparison = _compared(champion, requests, _warnings_only(model))
            served["columns"] = {
                column["column"]: {c["measure"]: c["value"] for c in column["checks"]}
                for column in comparison["columns"]
            }
            drift["comparisons"].append(comparison)
    except QuatrainError as error:
        served["sentence"] = f"{NOT_COMPARED}: {error}"
    drift["served"] = served


def days_of(window: str | None, day: datetime.date) -> Days:
    """Returns the days of a run whose requests are compared.

    They are the newest ones of the source's window, which ends before the day of the run; without
    one, that day is the last.

    Args:
        window: The window, as 90d; None without one.
        day: The day of the run.
    """
    n = min(MOST_DAYS, int(window[:-1])) if window else MOST_DAYS
    last = day - datetime.timedelta(days=1) if window else day
    return last - datetime.timedelta(days=n - 1), last


def open_log(log: RequestLog, endpoint: str, name: str, project: str, location: str) -> Log:
    """Returns the log that a spec names.

    Args:
        log: Its place.
        endpoint: The endpoint that writes it, if it is a table.
        name: The name of the model.
        project: The project of the job.
        location: The region of the job.

    Raises:
        ServedError: It cannot be read from here, or no version of the model is deployed.
    """
    if not log.is_table:
        if location != HERE:
            raise ServedError(f"{log.uri} is a file of another machine; name a table (bq://)")
        return FileLog(log.uri, name)
    if location == HERE:
        raise ServedError(
            f"{log.uri} is read by runs on Vertex AI alone, which know the endpoint's project; log "
            f"requests here by `quatrain serve --log`"
        )
    deployed = deployed_ids(project, location, endpoint, name)
    if not deployed:
        raise ServedError(
            f"endpoint {endpoint} has no deployed version of {name}; release one by `quatrain "
            f"deploy`"
        )
    return TableLog(log.uri, deployed, project)


class ServedRequests:
    """Requests as they were read by the server's own code, and the statistics of their rows.

    Args:
        transform: The transform of the champion.
    """

    def __init__(self, transform: Transform) -> None:
        self._transform = transform
        self._statistics = InputStatistics(transform.inputs)
        self.sampled = self.rows = self.unreadable = 0
        self._example: tuple[int, str] | None = None

    def read(self, log: Log, sample: Sample) -> None:
        """Reads the requests of a sample; one that the server would refuse is counted as such."""
        some: list[tuple[int, list[Instance]]] = []
        n = 0
        for key, payloads in sampled_requests(log, sample):
            self.sampled += 1
            try:
                instances = logged_instances(payloads)[:MOST_INSTANCES]
            except (DataError, ServedError) as error:
                self._refuse(key, error)
                continue
            some.append((key, instances))
            n += len(instances)
            if n >= AT_ONCE:
                self._add(some)
                some, n = [], 0
        self._add(some)

    def _add(self, requests: Sequence[tuple[int, list[Instance]]]) -> None:
        """Counts the rows of requests; where one is wrong, it is found by halves."""
        instances = [instance for _, of_request in requests for instance in of_request]
        if not instances:
            return
        transform = self._transform
        try:
            batch = read_rows(instances, transform.inputs, transform.text.columns)
        except (DataError, RecursionError) as error:
            if len(requests) == 1:
                self._refuse(requests[0][0], error)
                return
            half = len(requests) // 2
            self._add(requests[:half])
            self._add(requests[half:])
            return
        self._statistics.add(batch)
        self.rows += batch.num_rows

    def _refuse(self, key: int, error: Exception) -> None:
        """Counts a request that cannot be read; the one with the smallest key is the example."""
        self.unreadable += 1
        text = str(error) if isinstance(error, QuatrainError) else "it is nested too deeply"
        if self._example is None or key < self._example[0]:
            self._example = key, text[:MAX_EXAMPLE]

    def document(self) -> dict[str, Any]:
        """Returns the statistics of the rows."""
        return self._statistics.document()

    def as_json(self, days: Days, n_requests: int, broken: int) -> dict[str, Any]:
        """Returns the counts, and a sentence about them.

        Args:
            days: The first day that was read, and the last one.
            n_requests: The requests of these days.
            broken: The lines of a file that are no request.
        """
        first, last = map(str, days)
        unreadable = self.unreadable + broken
        example = self._example[1] if self._example else ""
        why = f", of which {counted(unreadable, 'request')} cannot be read" if unreadable else ""
        why += f" ({example})" if example else ""
        of = f" (of {n_requests:,})" if n_requests > self.sampled else ""
        return {
            "first": first,
            "last": last,
            "requests": n_requests,
            "sampled": self.sampled,
            "rows": self.rows,
            "unreadable": unreadable,
            "example": example,
            "sentence": (
                f"{counted(self.sampled, 'request')}{of} served from {first} to {last}{why}: "
                f"{counted(self.rows, 'row')} to compare"
            ),
        }


def _compared(
    champion: Mapping[str, Any], requests: ServedRequests, limits: Mapping[str, Limit]
) -> dict[str, Any]:
    """Returns the comparison.

    Raises:
        ServedError: The statistics of the champion are of another version.
    """
    compared = compare_with_champion(champion, requests.document(), limits)
    if not compared["comparisons"]:
        raise ServedError(f"{compared['note']}; run again once a newer model is promoted")
    return {**compared["comparisons"][0], "served": True}


def _warnings_only(model: ModelSpec) -> dict[str, Limit]:
    """Returns the limits of a spec, at which requests warn where rows of a run would fail it."""
    limits: dict[str, Limit] = {n: getattr(model.drift, n) for n in type(model.drift).model_fields}
    return {n: Limit(warn=x.fail if x.warn is None else x.warn) for n, x in limits.items()}
