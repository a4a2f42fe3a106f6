"""What Cloud Monitoring counted of a deployed model: requests, errors and latency."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from quatrain.components.errors import ReleaseError
from quatrain.components.release.service import Service
from quatrain.components.specification.release import Release
from quatrain.components.wording import counted

_METRIC = "aiplatform.googleapis.com/prediction/online/"
"""https://cloud.google.com/monitoring/api/metrics_gcp_a_b#gcp-aiplatform"""
MIN_PERIOD_S = 60
"""Cloud Monitoring aligns to at least a minute."""


@dataclass(frozen=True)
class Watched:
    """What was counted since the traffic moved.

    Attributes:
        requests: The answers.
        errors: Those with a status of 4xx or 5xx.
        p95_ms: The 95th percentile of their latency; None without any.
    """

    requests: int
    errors: int
    p95_ms: float | None

    def check(self, settings: Release) -> None:
        """Checks what was counted against the bounds.

        Raises:
            ReleaseError: A bound is missed.
        """
        share = self.errors / self.requests if self.requests else 0.0
        if share > settings.max_errors:
            raise ReleaseError(
                f"{self.errors:,} of {counted(self.requests, 'answer')} of the new version are "
                f"errors, {share:.1%}, above release.max_errors, {settings.max_errors:.1%}; read "
                f"its logs, mend the cause, then release again"
            )
        bound = settings.max_p95_ms
        if bound is not None and self.p95_ms is not None and self.p95_ms > bound:
            raise ReleaseError(
                f"the 95th percentile of the new version's latency is {self.p95_ms:,.0f} ms on "
                f"{counted(self.requests, 'answer')}, above release.max_p95_ms, {bound:g}; name a "
                f"larger release.machine_type, then release again"
            )


def watch(service: Service, endpoint: str, deployed: str, since: float) -> Watched:
    """Returns what was counted of a deployed model since a time, in seconds since 1970."""
    now = service.now()
    of = (
        f'resource.type="aiplatform.googleapis.com/Endpoint" AND '
        f'resource.labels.endpoint_id="{endpoint}" AND '
        f'metric.labels.deployed_model_id="{deployed}"'
    )

    def read(kind: str, aligner: str, more: str = "") -> list[dict]:
        return service.series(
            f"read what endpoint {endpoint} answered",
            filter=f'metric.type="{_METRIC}{kind}" AND {of}{more}',
            interval__startTime=_time(since),
            interval__endTime=_time(now),
            aggregation__alignmentPeriod=f"{max(MIN_PERIOD_S, int(now - since))}s",
            aggregation__perSeriesAligner=aligner,
        )

    codes: dict[str, int] = {}
    for series in read("response_count", "ALIGN_DELTA"):
        code = series["metric"]["labels"]["response_code"]
        n = sum(int(point["value"].get("int64Value", 0)) for point in series["points"])
        codes[code] = codes.get(code, 0) + n
    latencies = read(
        "prediction_latencies",
        "ALIGN_PERCENTILE_95",
        ' AND metric.labels.latency_type="total"',
    )
    p95s = [float(p["value"]["doubleValue"]) for s in latencies for p in s["points"]]
    errors = sum(n for code, n in codes.items() if code[:1] in "45")
    return Watched(sum(codes.values()), errors, max(p95s, default=None))


def _time(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
