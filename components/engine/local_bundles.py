"""Bundles of a local run's worker processes: a free worker takes the next one.

Beam's runner deals out all elements before work begins, so that every stage lasts as long as its
slowest core, and it sends a stage of one element to every worker.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import chain, repeat
from threading import Lock
from typing import Any

from apache_beam.metrics import monitoring_infos
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import BundleManager
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance

_PARTS, _SHARE = 32, 1.5
"""The parts of a stage per worker, and the divisor of the parts that are left to be bundled."""
Part = dict[str, list[bytes]]
"""Encoded elements, by the transform that reads them."""
Answer = tuple[beam_fn_api_pb2.InstructionResponse, list[Any]]
"""A worker's response to a bundle, and the places where the bundle was split."""


class Bundles(BundleManager):
    """Works through a stage in bundles: large ones first, as each has a cost, then small ones."""

    def process_bundle(
        self,
        inputs: Mapping[str, Any],
        expected_outputs: Any,
        fired_timers: Any,
        expected_output_timers: Any,
        dry_run: bool = False,
    ) -> Answer:
        """Returns the sum of the workers' responses.

        Raises:
            RuntimeError: A bundle failed; no other bundle began after it.
        """
        workers = self.bundle_context_manager.worker_handlers
        parts = _cut(inputs, _PARTS * len(workers))
        bundles = zip(
            _bundles(parts, len(workers)), chain([fired_timers], repeat({})), strict=False
        )
        lock, answers = Lock(), list[Answer]()

        def take() -> tuple[Part, Any] | None:
            with lock:
                return next(bundles, None)

        def work(worker: Any) -> None:
            process = self._of(worker).process_bundle
            try:
                for bundle, timers in iter(take, None):
                    args = (expected_outputs, timers, expected_output_timers, dry_run)
                    answers.append(process(bundle, *args))
            finally:
                parts.clear()

        try:
            # These are daemon threads: an interrupted run does not wait for the end of a bundle.
            list(shared_unbounded_instance().map(work, workers))
        finally:
            parts.clear()
        return reduce(_sum, answers)

    def _of(self, worker: Any) -> BundleManager:
        """Returns Beam's bundle manager of the same stage, for one worker."""
        context = copy.copy(self.bundle_context_manager)
        context._worker_handlers = [worker]
        return BundleManager(context, self._progress_frequency, self._cache_token_generator)


def _cut(inputs: Mapping[str, Any], n: int) -> list[Part]:
    """Cuts the elements of a stage into at most n parts, at least one."""
    cut = {name: buffer.partition(n) for name, buffer in inputs.items()}
    parts = [{name: streams[i] for name, streams in cut.items()} for i in range(n)]
    return [part for part in parts if any(chain(*part.values()))] or parts[:1]


def _bundles(parts: list[Part], n_workers: int) -> Iterator[Part]:
    """Yields bundles, each of some parts, which it removes from the list."""
    while parts:
        n = max(1, int(len(parts) / (_SHARE * n_workers)))
        bundle, parts[:n] = parts[:n], []
        yield {name: [*chain(*(part[name] for part in bundle))] for name in bundle[0]}


def _sum(one: Answer, other: Answer) -> Answer:
    """Adds up two responses, as Beam's ParallelBundleManager does."""
    infos = monitoring_infos.consolidate(
        chain(*(answer.process_bundle.monitoring_infos for answer, _ in (one, other)))
    )
    return (
        beam_fn_api_pb2.InstructionResponse(
            process_bundle=beam_fn_api_pb2.ProcessBundleResponse(monitoring_infos=infos),
            error=one[0].error or other[0].error,
        ),
        one[1] + other[1],
    )
