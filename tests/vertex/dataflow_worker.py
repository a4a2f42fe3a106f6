"""Executes the pipeline of a Dataflow job, as the service's workers would: on gs:// uris alone.

python -m tests.vertex.dataflow_worker URI
"""

from __future__ import annotations

import sys

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment

from quatrain.components.storage import open_stream


def main(uri: str) -> None:
    """Runs the pipeline whose proto is at `uri`, in this process instead of containers."""
    with open_stream(uri) as file:
        pipeline = beam_runner_api_pb2.Pipeline.FromString(bytes(file.read()))
    here = EmbeddedPythonEnvironment.default().to_runner_api(None)
    for environment in pipeline.components.environments.values():
        environment.CopyFrom(here)
    FnApiRunner().run_via_runner_api(pipeline, PipelineOptions()).wait_until_finish()


if __name__ == "__main__":
    main(sys.argv[1])
