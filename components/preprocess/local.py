"""Beam's local runner, with worker processes that start and end quickly."""

from __future__ import annotations

import shlex
import sys
from typing import Any

from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner import FnApiRunner


class LocalRunner(FnApiRunner):
    """The runner of Beam; each of its processes runs `components.preprocess.worker`."""

    def run_via_runner_api(self, pipeline_proto: Any, options: Any) -> Any:
        """Runs a pipeline."""
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                command = [sys.executable, "-m", "components.preprocess.worker"]
                environment.payload = shlex.join(command).encode()
        return super().run_via_runner_api(pipeline_proto, options)
