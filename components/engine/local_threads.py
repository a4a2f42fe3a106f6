"""The worker threads of a local run, whose elements are never sent in parts.

With the running mode `multi_threading`, Beam sends what a worker has written once a second, by a
timer (data_plane.TimeBasedBufferingClosableOutputStream in 2.70 to 2.77). If a worker is just then
encoding an element, its first half is sent alone, and whoever reads it takes what follows for a
length: runs ended with 22 GB of memory. Workers in processes have no such timer.
"""

from __future__ import annotations

from apache_beam.options.pipeline_options import DirectOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonGrpcEnvironment

THREADS = "multi_threading"
"""Beam's name of the mode in which workers are threads of this process."""
NEVER_MS = 10**9
"""The period of the timer: eleven days. Beam takes 0 for its own default."""


def local_runner(options: DirectOptions) -> FnApiRunner:
    """Returns Beam's runner for its options, with our timer where workers are threads."""
    if options.direct_running_mode != THREADS:
        return FnApiRunner()
    environment = EmbeddedPythonGrpcEnvironment.default()
    environment.data_buffer_time_limit_ms = NEVER_MS
    # Any mode has Beam replace the environment by one of its own, or warn.
    options.direct_running_mode = None
    return FnApiRunner(default_environment=environment)
