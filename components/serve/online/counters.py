"""What a server has done, in the text format of Prometheus.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from quatrain.components.serve.online.version import Version

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of the classes of latency, in seconds."""
Samples = Iterable[tuple[str, Mapping[str, str], float]]
"""The suffix of a name, the labels and the value of each sample of a metric."""


class Counters:
    """Counts since the start of the process; several threads may use it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = Counter[tuple[str, int]]()
        self._latencies = [0] * (len(BOUNDS_S) + 1)
        self._latency_s = 0.0
        self._rows = self._swaps = self._refusals = 0
        self._missing, self._unseen = Counter[str](), Counter[str]()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts an answer, with the seconds since the request had come if it asked to predict."""
        with self._lock:
            self._requests[route, status] += 1
            if route == "predict":
                self._latencies[bisect_left(BOUNDS_S, seconds)] += 1
                self._latency_s += seconds

    def predicted(self, rows: int, missing: Mapping[str, int], unseen: Mapping[str, int]) -> None:
        """Counts predicted rows, and their missing and unseen values by input."""
        with self._lock:
            self._rows += rows
            self._missing.update(missing)
            self._unseen.update(unseen)

    def swapped(self) -> None:
        """Counts a version that took the place of another one."""
        with self._lock:
            self._swaps += 1

    def refused(self) -> None:
        """Counts an attempt to load a new champion that failed."""
        with self._lock:
            self._refusals += 1

    def text(self, version: Version | None) -> str:
        """Returns all counts in the text format; of a version its name, run and digest."""
        with self._lock:
            return "".join(_lines(self._metrics(version)))

    def _metrics(self, version: Version | None) -> Iterator[tuple[str, str, str, Samples]]:
        """Yields the name, the type, the help and the samples of each metric."""
        yield (
            *("quatrain_requests_total", "counter", "Answered requests by route and status."),
            [
                ("", {"route": route, "code": str(code)}, n)
                for (route, code), n in sorted(self._requests.items())
            ],
        )
        yield (
            *("quatrain_request_seconds", "histogram"),
            "Seconds from the last byte of a request to predict until its answer is ready.",
            self._histogram(),
        )
        yield "quatrain_rows_total", "counter", "Predicted rows.", [("", {}, self._rows)]
        yield (
            *("quatrain_missing_values_total", "counter", "Missing values of predicted rows."),
            [("", {"input": name}, n) for name, n in sorted(self._missing.items())],
        )
        yield (
            *("quatrain_unseen_values_total", "counter"),
            "Values of predicted rows that the model has no token for.",
            [("", {"input": name}, n) for name, n in sorted(self._unseen.items())],
        )
        labels = {} if version is None else _labels_of(version)
        yield (
            *("quatrain_model_info", "gauge", "The model that answers; no sample before it has."),
            [("", labels, 1)] if labels else [],
        )
        yield (
            *("quatrain_model_swaps_total", "counter"),
            "Models that took the place of another one.",
            [("", {}, self._swaps)],
        )
        yield (
            *("quatrain_model_refusals_total", "counter"),
            "Failed attempts to load a promoted model.",
            [("", {}, self._refusals)],
        )

    def _histogram(self) -> Samples:
        """Yields the samples of the latencies, each class with all below it."""
        below = list(accumulate(self._latencies))
        for bound, n in zip((*map(str, BOUNDS_S), "+Inf"), below, strict=True):
            yield "_bucket", {"le": bound}, n
        yield "_sum", {}, self._latency_s
        yield "_count", {}, below[-1]


def _labels_of(version: Version) -> dict[str, str]:
    return {"run": version.run, "model": version.place, "metadata_sha256": version.metadata}


def _lines(metrics: Iterable[tuple[str, str, str, Samples]]) -> Iterator[str]:
    for name, type_, about, samples in metrics:
        yield f"# HELP {name} {about}\n# TYPE {name} {type_}\n"
        for suffix, labels, value in samples:
            pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            yield f"{name}{suffix}{'{' + pairs + '}' if pairs else ''} {value}\n"


def _escaped(text: str) -> str:
    """Returns the text of a label, with a backslash before what would end it."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return plain.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
