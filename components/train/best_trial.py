"""Reads a finished tuning job and adds the best trial's settings to the final training."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from quatrain.components.errors import TrainingFailed
from quatrain.components.folder import commit
from quatrain.components.wording import counted, first_line

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GOOGLE = "-aiplatform.googleapis.com"
TIMEOUT_S = 60.0


def choose(gcp_resources: str, pools: str, tuning: str) -> list[Any]:
    """Returns the pools, with the best trial's settings as further arguments of each replica.

    Args:
        gcp_resources: The output of HyperparameterTuningJobRunOp; names the job.
        pools: The `worker_pool_specs` of the trials as JSON text: a list would arrive with floats,
            which Vertex refuses as counts of machines.
        tuning: The artifact to write `tuning.json` into: the job with all its trials.

    Raises:
        TrainingFailed: No trial reported the metric.
    """
    (resource,) = json.loads(gcp_resources)["resources"]
    job = read_job(resource["resourceUri"])
    best = best_trial(job)
    arguments = [f"--{p['parameterId']}={argument(p['value'])}" for p in best["parameters"]]
    (metric,) = job["studySpec"]["metrics"]
    print(
        f"choose: trial {best['id']} of {len(job['trials'])}: {metric['metricId']} {value_of(best)}"
    )
    print(f"choose: the final training gets {' '.join(arguments)}")
    with commit(tuning, "tuning.json") as folder:
        folder.write_json("tuning.json", {"best": best["id"], **job})
    return with_arguments(json.loads(pools), arguments)


def best_trial(job: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the trial with the best metric, the first of several equal ones.

    Args:
        job: A HyperparameterTuningJob in the JSON of Vertex's REST interface.

    Raises:
        TrainingFailed: No trial reported the metric.
    """
    (metric,) = job["studySpec"]["metrics"]
    trials = job.get("trials", [])
    succeeded = [t for t in trials if t["state"] == "SUCCEEDED" and value_of(t) is not None]
    if not succeeded:
        reasons = "; ".join(f"trial {t['id']}: {_why(t, metric['metricId'])}" for t in trials[:3])
        raise TrainingFailed(
            f"none of {counted(len(trials), 'trial')} reported the metric {metric['metricId']!r}, "
            f"so none is the best ({reasons or 'there was no trial'}); correct what they "
            "failed of, or their search space"
        )
    sign = -1.0 if metric["goal"] == "MAXIMIZE" else 1.0
    return min(succeeded, key=lambda trial: (sign * (value_of(trial) or 0.0), int(trial["id"])))


def value_of(trial: Mapping[str, Any]) -> float | None:
    """Returns the final value of the study's one metric, or None if it was not reported."""
    metrics = trial.get("finalMeasurement", {}).get("metrics", [])
    # REST leaves out a value of 0.
    return float(metrics[0].get("value", 0.0)) if metrics else None


def _why(trial: Mapping[str, Any], metric: str) -> str:
    return trial.get("infeasibleReason") or f"it reported no metric {metric!r}"


def argument(value: Any) -> str:
    """Returns a parameter's value as an argument: 256 for 256.0, as Vertex's REST writes it."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def with_arguments(pools: Sequence[Mapping[str, Any]], arguments: Sequence[str]) -> list[Any]:
    """Returns the pools with further arguments; of two equal options the trainer takes the last."""
    extended = copy.deepcopy(list(pools))
    for pool in extended:
        container = pool["container_spec"]
        container["args"] = [*container.get("args", []), *arguments]
    return extended


def read_job(uri: str) -> dict[str, Any]:
    """Returns a HyperparameterTuningJob in the JSON of Vertex's REST interface.

    Args:
        uri: The job's uri at Vertex AI, which is called with the credentials of this machine; or
            the file:// uri of a job that ran here.

    Raises:
        TrainingFailed: The uri is neither, or Vertex AI does not answer.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return dict(json.loads(Path(unquote(parts.path)).read_text(encoding="utf-8")))
    if parts.scheme != "https" or not str(parts.hostname).endswith(GOOGLE):
        raise TrainingFailed(f"{uri} is no tuning job of Vertex AI; its host must end in {GOOGLE}")
    return dict(_get(uri))


def _get(uri: str) -> Any:
    """Returns the JSON that Vertex AI answers to a GET, with the credentials of this machine."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession

    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
        answer = AuthorizedSession(credentials).get(uri, timeout=TIMEOUT_S)
        answer.raise_for_status()
    except (GoogleAuthError, OSError) as error:  # requests' errors are OSErrors
        raise TrainingFailed(
            f"{uri} cannot be read: {first_line(error)}; run the step again"
        ) from error
    return answer.json()
