"""The emulated Vertex AI's rules for custom jobs and models; each names its source.

proto = the field's comment in google.cloud.aiplatform_v1 1.165; train = the pages of
https://cloud.google.com/vertex-ai/docs/training (configure-compute, distributed-training).
"""

from __future__ import annotations

import re
from typing import Any

from google.cloud import aiplatform_v1

MAX_POOLS = 4
"""train: chief, workers, parameter servers or reduction servers, evaluators."""
_ACCOUNT = re.compile(r"[a-z0-9-]+@[a-z0-9.:-]+\.gserviceaccount\.com")
_VERTEX_IMAGE = re.compile(r"[a-z0-9.-]+(:[0-9]+)?/[a-z0-9._/-]+(:[\w.-]+|@sha256:[0-9a-f]{64})?")


class Invalid(Exception):
    """An argument that the service refuses with INVALID_ARGUMENT."""


def check_custom_job(job: Any) -> None:
    """Refuses what CreateCustomJob refuses."""
    pb = aiplatform_v1.CustomJob.pb(job)
    if not 1 <= len(pb.display_name) <= 128:  # proto: display_name
        raise Invalid("display_name is required and at most 128 characters long")
    spec = pb.job_spec
    pools = list(spec.worker_pool_specs)
    if not 1 <= len(pools) <= MAX_POOLS:
        raise Invalid(f"job_spec.worker_pool_specs: 1 to {MAX_POOLS} pools, not {len(pools)}")
    if pools[0].replica_count != 1:  # train: "the first worker pool ... replica count of 1"
        raise Invalid("worker_pool_specs[0].replica_count must be 1")
    for number, pool in enumerate(pools):
        _check_pool(f"worker_pool_specs[{number}]", pool)
    base = spec.base_output_directory.output_uri_prefix
    if base and not base.startswith("gs://"):  # proto: GcsDestination.output_uri_prefix
        raise Invalid(f"base_output_directory {base!r} must be a gs:// path")
    if spec.service_account and not _ACCOUNT.fullmatch(spec.service_account):
        raise Invalid(f"service_account {spec.service_account!r} is malformed")
    if spec.tensorboard and not spec.service_account:  # proto: tensorboard
        raise Invalid("tensorboard needs service_account")
    flex = aiplatform_v1.Scheduling.Strategy.FLEX_START
    if spec.scheduling.HasField("max_wait_duration") and spec.scheduling.strategy != flex:
        # proto: max_wait_duration, "only for Dynamic Workload Scheduler" (FLEX_START)
        raise Invalid("scheduling.max_wait_duration goes with strategy FLEX_START only")


def _check_pool(where: str, pool: Any) -> None:
    if pool.replica_count < 1:
        raise Invalid(f"{where}.replica_count must be positive")
    if not pool.machine_spec.machine_type:
        raise Invalid(f"{where}.machine_spec.machine_type is required")
    has_type = pool.machine_spec.accelerator_type != 0
    if has_type != (pool.machine_spec.accelerator_count > 0):
        raise Invalid(f"{where}: accelerator_type and accelerator_count go together")
    task = pool.WhichOneof("task")
    if task is None:  # proto: WorkerPoolSpec.task
        raise Invalid(f"{where}: container_spec or python_package_spec is required")
    image = pool.container_spec.image_uri if task == "container_spec" else ""
    if task == "container_spec" and not _VERTEX_IMAGE.fullmatch(image):
        raise Invalid(f"{where}.container_spec.image_uri {image!r} is no image")


def check_model(model: Any) -> None:
    """Refuses what UploadModel refuses."""
    pb = aiplatform_v1.Model.pb(model)
    if not 1 <= len(pb.display_name) <= 128:  # proto: display_name
        raise Invalid("model.display_name is required and at most 128 characters long")
    if not _VERTEX_IMAGE.fullmatch(pb.container_spec.image_uri):  # proto: "Required."
        raise Invalid(f"model.container_spec.image_uri {pb.container_spec.image_uri!r} is no image")
    if pb.artifact_uri and not pb.artifact_uri.startswith("gs://"):
        raise Invalid(f"model.artifact_uri {pb.artifact_uri!r} must be a gs:// folder")
    for route in (pb.container_spec.predict_route, pb.container_spec.health_route):
        if route and not route.startswith("/"):
            raise Invalid(f"the route {route!r} must begin with a slash")
