"""Predicts all ranges in this process, without Beam, whose import and start take two seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from quatrain.components.serve.ahead import map_in
from quatrain.components.serve.batch import passes
from quatrain.components.serve.batch.passes import PredictionPlan, WrittenRange
from quatrain.components.serve.served_model import ServedModel
from quatrain.components.table.range import Range

MANY_RANGES = 8
"""From so many ranges a thread, each is answered by one thread: few idle at the end."""

T = TypeVar("T")
R = TypeVar("R")


def predict(
    plan: PredictionPlan, spans: Sequence[Range], model: ServedModel, n_threads: int
) -> list[WrittenRange]:
    """Does what the pipeline does, and returns the same.

    After the error of a range, none behind it is begun. Where there are few ranges, all threads
    answer the batches of the same ones, so that none is idle while the last range is answered.

    Args:
        plan: The model, and where its answers go.
        spans: The ranges of the table.
        model: The loaded model, which several threads may call.
        n_threads: How many ranges are read at once, each of about 10 MB, and how many batches are
            answered at once.
    """
    first_failed = len(spans)
    share = n_threads > 1 and len(spans) < MANY_RANGES * n_threads
    answering = ThreadPoolExecutor(n_threads)

    def map_shared(function: Callable[[T], R], batches: Iterable[T], /) -> Iterator[R]:
        return map_in(answering, function, batches, 2 * n_threads)

    def predict_one(span: Range) -> WrittenRange:
        nonlocal first_failed
        if span.index > first_failed:
            return WrittenRange(span.index)
        written = passes.predict_range(span, plan, model, map_shared if share else map)
        if written.error:
            first_failed = min(first_failed, span.index)
        return written

    with answering, ThreadPoolExecutor(n_threads) as pool:
        try:
            return list(pool.map(predict_one, spans))
        except BaseException:
            first_failed = -1
            # A range that waits for a batch ends here, and not after all its batches.
            answering.shutdown(wait=False, cancel_futures=True)
            pool.shutdown(cancel_futures=True)
            raise
