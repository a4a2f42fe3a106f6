"""Scores all shards in this process, without Beam, whose import and start take two seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from quatrain.components.errors import ArtifactError
from quatrain.components.evaluate import passes
from quatrain.components.evaluate.passes import EvaluationPlan, Shard
from quatrain.components.faults import sentence_of


def score(plan: EvaluationPlan, train: Sequence[Shard], test: Sequence[Shard]) -> dict[str, Any]:
    """Does what the pipeline does, and returns the same measurements, as in metrics.json.

    Args:
        plan: The models, and what to measure.
        train: The shards of the train split.
        test: The shards of the test split.

    Raises:
        ArtifactError: A shard or the model is not what was written, or cannot be read.
        DataError: A split has no rows, or a weight is negative or not finite.
    """
    try:
        return _score(plan, train, test)
    except OSError as error:
        if sentence := sentence_of(error):
            raise ArtifactError(sentence) from error
        raise


def _score(plan: EvaluationPlan, train: Sequence[Shard], test: Sequence[Shard]) -> dict[str, Any]:
    splits = (("train", train), ("test", test))
    surveys = (passes.survey_shard(s, plan, split) for split, shards in splits for s in shards)
    reference = passes.reference_of(reduce(add, surveys), plan)
    sums = (passes.count_shard(shard, plan, reference) for shard in train)
    baselines = passes.fit_baselines(reduce(add, sums), plan, reference)
    models = passes.load_models(plan)
    measured = (passes.score_shard(shard, plan, models, reference, baselines) for shard in test)
    return passes.summarize_model(reduce(add, measured), plan, models)
