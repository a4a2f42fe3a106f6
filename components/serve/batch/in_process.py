"""Predicts all ranges in this process, without Beam, whose import and start take two seconds."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from quatrain.components.serve.batch import passes
from quatrain.components.serve.batch.passes import PredictionPlan, WrittenRange
from quatrain.components.serve.served_model import ServedModel
from quatrain.components.table.range import Range


def predict(
    plan: PredictionPlan, spans: Sequence[Range], model: ServedModel, n_threads: int
) -> list[WrittenRange]:
    """Does what the pipeline does, and returns the same.

    After the error of a range, none behind it is begun.

    Args:
        plan: The model, and where its answers go.
        spans: The ranges of the table.
        model: The loaded model, which several threads may call.
        n_threads: How many ranges are read at once, each of about 10 MB.
    """
    first_failed = len(spans)

    def predict_one(span: Range) -> WrittenRange:
        nonlocal first_failed
        if span.index > first_failed:
            return WrittenRange(span.index)
        written = passes.predict_range(span, plan, model)
        if written.error:
            first_failed = min(first_failed, span.index)
        return written

    with ThreadPoolExecutor(n_threads) as pool:
        try:
            return list(pool.map(predict_one, spans))
        except BaseException:
            first_failed = -1
            pool.shutdown(cancel_futures=True)
            raise
