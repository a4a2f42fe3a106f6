"""What cannot work is refused here, before it costs anything.

`check --cloud`, doctor, submit and schedule all ask `region` and `findings`, so what one of them
refuses, all refuse.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from quatrain.components.errors import QuatrainError
from quatrain.components.specification.parameter import parameter_of
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.tiers import regions
from quatrain.components.tiers.tiers import Tier
from quatrain.components.wording import counted, near
from quatrain.vertex.checks import engine, images
from quatrain.vertex.checks.findings import Finding
from quatrain.vertex.cloud_file import Cloud, CloudError

MAX_TASK_BYTES = 131_072
"""The most bytes of the parameters and artifacts of a task, as JSON
(https://docs.cloud.google.com/vertex-ai/docs/quotas, Vertex AI Pipelines)."""


def check_run(
    spec: ModelSpec, cloud: Cloud, tier: Tier, runner_options: Mapping[str, Any] | None = None
) -> list[str]:
    """Refuses a run that cannot work, and returns sentences about what may not.

    Args:
        spec: The spec of the run.
        cloud: Where it takes place, and in which images.
        tier: The machines of the training.
        runner_options: The options of its Beam runner; by default, the cloud's.

    Raises:
        CloudError: The run cannot work.
    """
    found = [region(cloud, tier), *findings(spec, cloud, tier, runner_options)]
    if wrong := [finding for finding in found if finding.severity == "error"]:
        raise CloudError("\n".join(f"{f.check}: {f.sentence}\n{f.fix}" for f in wrong))
    warnings = [f"{f.check}: {f.sentence}" for f in found if f.severity == "warning"]
    return [*warnings, *images.check_images(cloud, tier)]


def local_inputs(spec: ModelSpec) -> Iterator[str]:
    """Yields a sentence for each input of a run that is on this machine, with the way out."""
    local = [u for u in spec.source.uri if "://" not in u or u.startswith("file://")]
    if local:
        yield (
            f"source.uri: {local[0]} is on this machine, which Vertex cannot read; copy it to a "
            f"bucket (`gcloud storage cp {shlex.quote(local[0])} gs://BUCKET/`), and name the copy "
            f"in the spec or by --set source.uri=gs://BUCKET/..."
        )
    own = spec.train.trainer
    if own and "://" not in own:
        yield (
            f"train.trainer: {own} is on this machine; copy it to a bucket (`gcloud storage cp -r "
            f"{shlex.quote(own)} gs://BUCKET/`), and set train.trainer=gs://BUCKET/..."
        )


def findings(
    spec: ModelSpec,
    cloud: Cloud,
    tier: Tier,
    runner_options: Mapping[str, Any] | None = None,
) -> Iterator[Finding]:
    """Yields what is wrong with a run by its files alone; no question is put to Google.

    Args:
        spec: The spec of the run.
        cloud: Where it takes place.
        tier: The machines of the training.
        runner_options: The options of its Beam runner; by default, the cloud's.
    """
    if spec.train.tune:
        yield from _tuning(cloud, tier)
    yield from _options(cloud)
    yield from _sizes(
        spec, cloud, cloud.runner_options if runner_options is None else runner_options
    )


def region(cloud: Cloud, tier: Tier | None) -> Finding:
    """Checks that Vertex trains in the region, and with the tier's hardware."""
    table, location = regions.load(), cloud.location
    if location not in table["regions"]:
        return Finding(
            "region",
            "warning",
            f"{location} is not among the training regions of {table['checked']}"
            f"{near(location, table['regions'])}",
            f"see {regions.LOCATIONS}",
        )
    if tier and (lacking := regions.untrained(tier, location)):
        return Finding(
            "region",
            "error",
            f"tier {tier.name} has {' and '.join(lacking)}, with which Vertex AI does not train in "
            f"{location} (table of {table['checked']}), even if Compute Engine has it there: name "
            f"another location, with a root in it, or take another tier",
            f"quatrain tiers\nsee {regions.LOCATIONS}",
        )
    return Finding("region", "ok", f"{location} trains")


def _tuning(cloud: Cloud, tier: Tier) -> Iterator[Finding]:
    """Yields why a tuning cannot be had: Google's component for it lacks fields of a job."""
    if tier.scheduling != "STANDARD":
        yield Finding(
            "tuning",
            "error",
            f"tier {tier.name} trains by {tier.scheduling}, but Vertex AI runs the trials of a "
            f"tuning on demand, at another price and not on every machine: leave out train.tune, "
            f"or tune on machines on demand",
            "--set train.scheduling=STANDARD, or --tier T with a T that `quatrain tiers` lists as "
            "STANDARD",
        )
    for key in ("psc_interface", "reserved_ip_ranges"):
        if getattr(cloud, key):
            yield Finding(
                "tuning",
                "error",
                f"train.tune and {key} do not go together: Google's component for tuning jobs "
                f"has no field for it; leave one of them out",
                "--set train.tune=null",
            )


def _options(cloud: Cloud) -> Iterator[Finding]:
    """Checks the names and values of the cloud's Beam options, even if this run has no runner."""
    if not cloud.runner_options:
        return
    try:  # Dataflow needs no option of its own here, so this checks only what Beam declares
        engine.check("dataflow", cloud.runner_options)
    except QuatrainError as error:
        yield Finding(
            "options", "error", f"runner_options: {error}", "correct runner_options in the settings"
        )


def _sizes(spec: ModelSpec, cloud: Cloud, runner_options: Mapping[str, Any]) -> Iterator[Finding]:
    """Checks that the largest task's parameters fit; a long spec travels as a file."""
    parameters = {"spec": parameter_of(spec, cloud.root), "runner_options": dict(runner_options)}
    n_bytes = len(json.dumps(parameters))
    if n_bytes > MAX_TASK_BYTES:
        yield Finding(
            "sizes",
            "error",
            f"the spec and the runner's options are {counted(n_bytes, 'byte')} long as the "
            f"parameters of a task, of which Vertex AI takes {MAX_TASK_BYTES:,}: shorten "
            "runner_options",
            "--set-cloud runner_options={}",
        )
