"""Runs the prediction pipeline on this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quatrain.components.login import check_login
from quatrain.components.notify.sending import check_webhook
from quatrain.components.prediction.inputs import partition_of
from quatrain.components.times import run_time
from quatrain.face.specs import local_path, read_spec
from quatrain.local.run import predict_window
from quatrain.pipelines.compiled import PipelineError, compile_pipeline, read_compiled
from quatrain.validation.load import Overrides
from quatrain.vertex.checks import engine


def predict_spec(
    spec: Path,
    *,
    root: str,
    overrides: Overrides = (),
    runner: str = "local",
    runner_options: Mapping[str, Any] | None = None,
    pipeline: Path | None = None,
    trust: bool = False,
    at: str = "",
    keep: Sequence[str] = (),
    notify: str = "",
) -> str:
    """Predicts the rows of a spec's window by its champion, and returns their partition.

    Args:
        spec: The path of the spec.
        root: The folder of all runs, which has the champion.
        overrides: Values that replace those of the spec.
        runner: Where Beam runs: local, prism, portable, flink, spark, ...
        runner_options: Options of the runner, by name.
        pipeline: A compiled file to run instead of compiling one.
        trust: Whether to run a `pipeline` that compile would not write: it is a program.
        at: The end of source.window, if not now, such as 2013-07-01; it names the partition.
        keep: Columns to copy to the left of the answers; by default those of the spec, or else of
            the split's keys.
        notify: The address of a webhook that hears how it ended, as of `quatrain.run`.

    Raises:
        StepFailed: A step failed; nothing after it ran.
        QuatrainError: The spec or an option is wrong; nothing ran.
        KeyboardInterrupt: The prediction was interrupted; the message names its folder.
    """
    engine.check(runner, dict(runner_options or {}))
    engine.check_here(runner)
    if notify:
        check_webhook(notify)
    place = local_path(root)
    model_spec = read_spec(spec, overrides).spec
    tables = (model_spec.predict.table,) if model_spec.predict else ()
    for uri in filter(None, (*model_spec.source.uri, *tables)):
        check_login(uri)
    if at:
        run_time(at)  # a wrong time is an error before anything is started
    if pipeline and not read_compiled(pipeline).predicts:
        raise PipelineError(
            f"{pipeline}: is not the prediction pipeline; write it by `quatrain compile --predict`"
        )
    with tempfile.TemporaryDirectory(prefix="quatrain-compile-") as folder:
        compiled = pipeline or compile_pipeline(Path(folder, "prediction.yaml"), predicts=True)
        finished = predict_window(
            compiled,
            model_spec,
            place,
            runner=runner,
            runner_options=runner_options,
            at=at,
            keep=keep,
            notify=notify,
            trust=trust or pipeline is None,
            copied=lambda: shutil.rmtree(folder),  # a killed one would leave it
        )
    day = f"{run_time(at, (finished.started,)):%Y-%m-%d}"
    return partition_of(str(place), model_spec.name, day)
