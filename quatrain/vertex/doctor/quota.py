"""Asks the Cloud Quotas API whether a project may have the machines of a tier.

A new project has no L4 and no H100 anywhere, and 20 CPUs in many regions. Vertex AI says so only
when the job starts, after the steps before it are paid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from quatrain.components.specification.schema import ModelSpec
from quatrain.components.tiers.pools import Pool, devices_of
from quatrain.components.tiers.tiers import Tier
from quatrain.vertex.checks.findings import Finding
from quatrain.vertex.cloud_file import Cloud
from quatrain.vertex.google_apis import GoogleApis, NoAnswer

SERVICE = "aiplatform.googleapis.com"
DISK_GB = 100
"""The boot disk of a replica, of type pd-ssd: the defaults of DiskSpec (aiplatform_v1 1.165)."""
MAX_PAGES = 100

_NAMES = {
    "NVIDIA_TESLA_T4": ("T4GPUs", "nvidia_t4_gpus"),
    "NVIDIA_TESLA_P4": ("P4GPUs", "nvidia_p4_gpus"),
    "NVIDIA_TESLA_P100": ("P100GPUs", "nvidia_p100_gpus"),
    "NVIDIA_TESLA_V100": ("V100GPUs", "nvidia_v100_gpus"),
    "NVIDIA_L4": ("L4GPUs", "nvidia_l4_gpus"),
    "NVIDIA_TESLA_A100": ("A100GPUs", "nvidia_a100_gpus"),
    "NVIDIA_A100_80GB": ("A10080GBGPUs", "nvidia_a100_80gb_gpus"),
    "NVIDIA_H100_80GB": ("H100GPUs", "nvidia_h100_gpus"),
    "NVIDIA_H100_MEGA_80GB": ("H100MEGAGPUs", "nvidia_h100_mega_gpus"),
    "NVIDIA_H200_141GB": ("H200GPUs", "nvidia_h200_gpus"),
    "NVIDIA_B200": ("B200GPUs", "nvidia_b200_gpus"),
    "NVIDIA_RTX_PRO_6000": ("RTXPRO6000GPUs", "nvidia_rtx_pro_6000_gpus"),
    "ct5lp": ("V5ETPU", "tpu_v5e"),
    "ct6e": ("V6ETPU", "tpu_v6e"),
    "e2": ("CPUs", "cpus"),
    "n1": ("CPUs", "cpus"),
    "n2": ("N2CPUs", "n2_cpus"),
    "n4": ("N4CPUs", "n4_cpus"),
    "c2": ("C2CPUs", "c2_cpus"),
    "m1": ("M1CPUs", "m1_cpus"),
    "g2": ("G2CPUs", "g2_cpus"),
    "disk": ("PDSSD", "pd_ssd"),
}
"""The middle of a quota's id and of its metric, by accelerator or family of machines. Seen in
GoogleCloudPlatform/vertex-ai-samples (common_util.get_quota_id: GPUs, TPUs), in error messages
(cpus, preemptible_cpus, pd_ssd) and in `gcloud beta quotas info list`; the ids of N2 to G2 and of
the disk follow the others, and the metric decides where an id is none. The CPUs of A2, A3, A4 and
of TPU machines come with their accelerators and are not asked."""


class Need(NamedTuple):
    """What a tier needs of one quota."""

    quota_id: str
    metric: str
    amount: int


def needs(spec: ModelSpec, tier: Tier) -> list[Need]:
    """Returns what a training needs; the trials of a tuning, if there are more, on demand."""
    preemptible = tier.scheduling != "STANDARD"
    tune = spec.train.tune
    times = max(1, min(tune.parallel, tune.trials)) if tune else 1
    amounts: Counter[str] = Counter()
    for pool in tier.pools:
        for name, amount in _uses(pool, preemptible):
            amounts[name] += amount * times
    return [_need(name, amount, preemptible) for name, amount in amounts.items()]


def _uses(pool: Pool, preemptible: bool) -> Iterator[tuple[str, int]]:
    family, _, size = pool.machine_type.partition("-")
    size = size.rpartition("-")[2]
    if pool.accelerator_type or pool.tpu_topology:
        yield pool.accelerator_type or family, devices_of([pool])
    if family in _NAMES and size.isdigit() and (not preemptible or family in ("e2", "n1")):
        yield family, int(size) * pool.replica_count
        if not preemptible:
            yield "disk", DISK_GB * pool.replica_count


def _need(name: str, amount: int, preemptible: bool) -> Need:
    quota, metric = _NAMES[name]
    kind, prefix = ("Preemptible", "preemptible_") if preemptible else ("", "")
    return Need(
        f"CustomModelTraining{kind}{quota}PerProjectPerRegion",
        f"{SERVICE}/custom_model_training_{prefix}{metric}",
        amount,
    )


def findings(apis: GoogleApis, spec: ModelSpec, tier: Tier) -> Iterator[Finding]:
    """Yields a finding on each quota that a training needs."""
    cloud = apis.cloud
    for need in needs(spec, tier):
        try:
            info = _info(apis, need)
        except NoAnswer as error:
            finding = unchecked(need, cloud)
            yield Finding("quota", "unchecked", f"{finding.sentence}: {error}", finding.fix)
            continue
        if info is None:
            yield unchecked(need, cloud)
            continue
        limit = _limit(info, cloud.location)
        name, quota_id = need.metric.partition("/")[2], info.get("quotaId", need.quota_id)
        if limit < 0 or limit >= need.amount:
            limit_words = f"{limit:,}" if limit >= 0 else "none"
            yield Finding(
                "quota",
                "ok",
                f"{tier.name} needs {need.amount:,} of {name}; the limit in {cloud.location} is "
                f"{limit_words}, whatever is in use",
            )
            continue
        yield Finding(
            "quota",
            "error",
            f"tier {tier.name} needs {need.amount:,} of {name}, but the limit of project "
            f"{cloud.project} in {cloud.location} is {limit:,}: ask for more, or take another tier "
            f"or region",
            f"gcloud beta quotas preferences create --service={SERVICE} --project={cloud.project} "
            f"--quota-id={quota_id} --preferred-value={need.amount} "
            f"--dimensions=region={cloud.location} --email=YOU@EXAMPLE.COM",
        )


def unchecked(need: Need, cloud: Cloud) -> Finding:
    """Returns an unchecked finding on a quota, with the command that shows it."""
    return Finding(
        "quota",
        "unchecked",
        f"whether the quota {need.metric.partition('/')[2]} in {cloud.location} is {need.amount:,}",
        f"gcloud beta quotas info list --service={SERVICE} --project={cloud.project} "
        f"--filter='metric={need.metric}'",
    )


def _info(apis: GoogleApis, need: Need) -> dict[str, Any] | None:
    """Returns a QuotaInfo, by its id or else by its metric; None if there is none."""
    parent = f"v1/projects/{apis.cloud.project}/locations/global/services/{SERVICE}/quotaInfos"
    if info := apis.query("cloudquotas", f"{parent}/{need.quota_id}"):
        return info
    token = ""
    for _ in range(MAX_PAGES):
        page = apis.query("cloudquotas", parent, pageToken=token) or {}
        for info in page.get("quotaInfos", []):
            by_region = "region" in info.get("dimensions", [])
            if info.get("metric") == need.metric and by_region:
                return dict(info)
        token = page.get("nextPageToken", "")
        if not token:
            break
    return None


def _limit(info: dict[str, Any], location: str) -> int:
    """Returns the limit in a region, negative for none.

    JSON leaves out a value of 0, and a region in which the project may have nothing: Google's own
    samples read both as 0.
    """
    entries = info.get("dimensionsInfos", [])
    here = [e for e in entries if e.get("dimensions", {}).get("region") == location]
    here += [e for e in entries if location in e.get("applicableLocations", [])]
    return int(here[0].get("details", {}).get("value", 0)) if here else 0
