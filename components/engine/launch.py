"""The Beam job of a step: on the engine of the run, from its options to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner, PipelineState
from apache_beam.transforms.environments import ExternalEnvironment

from quatrain.components.engine import dataflow, prism, runners
from quatrain.components.engine.failures import explain_engine, without_tracebacks
from quatrain.components.engine.gcp_resources import write_resources
from quatrain.components.engine.local_threads import local_runner
from quatrain.components.engine.names import DATAFLOW, LOCAL, PORTABLE, PRISM
from quatrain.components.engine.runners import MOST_WORKERS
from quatrain.components.engine.trial import try_engine
from quatrain.components.errors import RunnerError
from quatrain.components.image import IMAGE

_KIND = "environment_type"


@dataclass(frozen=True)
class Launch:
    """Where and how a step runs Beam.

    Attributes:
        step: The name of the step, for what it prints.
        runner: A name of `runners.ENGINES`, or that of another Beam runner.
        chosen: Beam's options for the runner, for example `direct_num_workers`.
        project: The project of the run.
        location: The region of the run.
        image: The image that the step runs in, as do its workers on other machines.
        gcp_resources: The file through which the page of Vertex AI links to a Dataflow job.
    """

    step: str
    runner: str = LOCAL
    chosen: Mapping[str, Any] = field(default_factory=dict)
    project: str = ""
    location: str = ""
    image: str = IMAGE
    gcp_resources: str = ""

    def __post_init__(self) -> None:
        runners.check_options(self.runner, self.chosen)

    @property
    def engine(self) -> runners.Engine:
        """The engine."""
        return runners.engine_of(self.runner)

    @property
    def on_dataflow(self) -> bool:
        """Whether the job is one of Dataflow."""
        return self.engine is runners.ENGINES[DATAFLOW]

    @property
    def remote(self) -> bool:
        """Whether workers may be on other machines, so that they share no disk with this one."""
        return self.engine.remote or bool(self._pool)

    @property
    def _pool(self) -> str:
        """The address of the worker pool of a local run; empty without one."""
        return runners.pool_of(self.chosen) if self.engine is runners.ENGINES[LOCAL] else ""

    def check(self, out: str) -> None:
        """Checks what can be checked before anything starts.

        Raises:
            RunnerError: Workers could not write to `out`, or would have other versions.
        """
        if self.on_dataflow:
            dataflow.check_launch(self.chosen, self.image, out)

    @contextmanager
    def start(
        self, *, name: str, out: str, n_elements: int, most_local: int = MOST_WORKERS
    ) -> Iterator[tuple[PipelineRunner | None, PipelineOptions]]:
        """Yields Beam's runner and options once the engine has proved to be there.

        The runner is None where the options choose it.

        Args:
            name: The model's name.
            out: Where the step writes.
            n_elements: The number of elements; with more workers than that, some would be idle.
            most_local: The bound of the workers on this machine, unless an option has their number.

        Raises:
            RunnerError: An option is wrong, or the engine fails the trial.
        """
        own_server = self.engine is runners.ENGINES[PRISM] and not self.chosen.get("job_endpoint")
        server = prism.serve(self.chosen[self.engine.program]) if own_server else nullcontext()
        with without_tracebacks(), server as endpoint:
            chosen = {**self.chosen, **({"job_endpoint": endpoint} if endpoint else {})}
            if self.engine is runners.ENGINES[LOCAL]:
                n_elements = min(n_elements, most_local)
            options = runners.read_options(
                self.runner, chosen, self._defaults(name, out, n_elements)
            )
            runner = self._runner(options)
            if self.remote and not self.on_dataflow:
                try_engine(runner, options, self._pool)
            yield runner, options

    def in_one_worker(self, options: PipelineOptions) -> bool:
        """Returns whether one worker does all the work, by the options of `start`."""
        is_local = self.engine is runners.ENGINES[LOCAL] and not self._pool
        return is_local and options.view_as(DirectOptions).direct_num_workers == 1

    def run(self, pipeline: beam.Pipeline, out: str) -> None:
        """Runs a pipeline to its end; cancels the job if this process is interrupted.

        Args:
            pipeline: The pipeline.
            out: Where the step writes.

        Raises:
            RunnerError: The job failed or was cancelled, or a worker or the job server is gone.
            StepError: A step's own code raised an error.
        """
        if self.on_dataflow:
            with dataflow.temporary_files(out):
                dataflow.run(pipeline, self.gcp_resources, self.step)
            return
        write_resources(self.gcp_resources)
        with explain_engine():
            result = pipeline.run()
            try:
                state = result.wait_until_finish()
            except BaseException:
                with suppress(Exception):  # the first error is the one that counts
                    result.cancel()
                raise
        if state != PipelineState.DONE:
            raise RunnerError(
                f"the job of runner {self.runner!r} ended as {state}; look for the cause in its log"
            )

    def _runner(self, options: PipelineOptions) -> PipelineRunner | None:
        if self._pool:
            return FnApiRunner(default_environment=ExternalEnvironment(self._pool))
        if self.engine is runners.ENGINES[LOCAL]:
            return local_runner(options.view_as(DirectOptions))
        return None

    def _defaults(self, name: str, out: str, n_elements: int) -> dict[str, Any]:
        """Returns the options of the engine that are not chosen."""
        if self.on_dataflow:
            return dataflow.defaults(
                name=name,
                project=self.project,
                location=self.location,
                image=self.image,
                out=out,
                n_ranges=n_elements,
            )
        if self.engine is runners.ENGINES[LOCAL]:
            return {} if self._pool else runners.local_defaults(self.chosen, n_elements)
        if self.engine is runners.ENGINES[PRISM]:
            return {_KIND: "LOOPBACK"}
        in_portable = self.engine is runners.ENGINES[PORTABLE]
        kind = self.chosen.get(_KIND) or ("DOCKER" if in_portable else None)
        if kind != "DOCKER" or any("environment_" in n for n in self.chosen if n != _KIND):
            return {}
        return {_KIND: kind, "environment_config": self.image}  # Beam's own image lacks Quatrain
