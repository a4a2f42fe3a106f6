"""Beam's local runner, with worker processes that are forked from one that is ready."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apache_beam.portability import python_urns
from apache_beam.runners.job.utils import struct_to_dict
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import (
    BundleManager,
    ParallelBundleManager,
)
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    GrpcWorkerHandler,
    WorkerHandler,
)

from quatrain.components.engine import local_worker
from quatrain.components.engine.local_bundles import Bundles

_FORKED = "quatrain:env:forked:v1"


@contextmanager
def local_runner(n_workers: int | None, module: str) -> Iterator[FnApiRunner | None]:
    """Yields the runner of a local run, and waits for the end of its worker processes.

    Args:
        n_workers: 1 works in this process; 0 starts a process for each core; None starts no
            process, since the workers are elsewhere.
        module: The module of the steps, which worker processes import in advance.
    """
    if n_workers is None or n_workers == 1:
        yield None if n_workers is None else FnApiRunner()
        return
    process, descriptor = local_worker.take(module)
    with process:
        try:
            yield _Runner(descriptor)
        finally:
            os.close(descriptor)


class _Runner(FnApiRunner):
    """Beam's runner; it sends `local_worker` a line for each worker to be forked."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def run_via_runner_api(self, pipeline_proto: Any, options: Any) -> Any:
        """Runs a pipeline."""
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                environment.urn, environment.payload = _FORKED, str(self._descriptor).encode()
        return super().run_via_runner_api(pipeline_proto, options)

    def _get_bundle_manager(self, bundle_context_manager: Any) -> BundleManager:
        """Returns our bundle manager in place of Beam's, which deals out all elements at once."""
        manager = super()._get_bundle_manager(bundle_context_manager)
        if not isinstance(manager, ParallelBundleManager):
            return manager  # for example of a stage with state, where a key belongs to one worker
        tokens = self.get_cache_token_generator(static=False)
        return Bundles(bundle_context_manager, self._progress_frequency, tokens)


@WorkerHandler.register_environment(_FORKED, bytes)
class _Forked(GrpcWorkerHandler):
    """Has a worker process forked, and talks to it as to one of Beam's own."""

    def __init__(self, payload: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._descriptor = int(payload)

    def start_worker(self) -> None:
        """Sends the environment of the process, as Beam's `sdk_worker_main` reads it."""
        services = {
            "CONTROL_API_SERVICE_DESCRIPTOR": self.control_api_service_descriptor(),
            "LOGGING_API_SERVICE_DESCRIPTOR": self.logging_api_service_descriptor(),
        }
        options = struct_to_dict(self.provision_info.provision_info.pipeline_options)
        environment = {name: str(service) for name, service in services.items()}
        environment |= {"PIPELINE_OPTIONS": json.dumps(options), "WORKER_ID": self.worker_id}
        os.write(self._descriptor, json.dumps(environment).encode() + b"\n")

    def stop_worker(self) -> None:
        """Does nothing: the process ends with its connection."""
