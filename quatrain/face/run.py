"""Runs the whole pipeline on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quatrain.calls import public
from quatrain.components.engine.names import LOCAL
from quatrain.components.errors import QuatrainError
from quatrain.components.login import check_login
from quatrain.components.notify.sending import check_webhook
from quatrain.components.package.publishing import check_trainer
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.times import window_end
from quatrain.components.train.plan import resolve_tier
from quatrain.components.uris import DEFAULT_ROOT
from quatrain.face.data import Data
from quatrain.face.specs import Spec, call_spec, local_path
from quatrain.local.run import StepFailed, run_pipeline
from quatrain.pipelines.compiled import compile_pipeline
from quatrain.results.run import Run
from quatrain.validation.load import Overrides
from quatrain.vertex.checks import engine


@public
def run(
    spec: Spec,
    *,
    data: Data | None = None,
    tier: str = "",
    root: str | os.PathLike[str] = DEFAULT_ROOT,
    set: Overrides = (),  # noqa: A002 - as on the command line
    runner: str = LOCAL,
    runner_options: Mapping[str, Any] | None = None,
    workers: int | None = None,
    pipeline: str | os.PathLike[str] | None = None,
    trust: bool = False,
    quick: bool = False,
    no_cache: bool = False,
    at: str = "",
    notify: str = "",
) -> Run:
    """Runs the whole pipeline for a spec on this machine, and prints its progress.

    Args:
        spec: The path of a spec, what `init` returned, or the sections of a spec as a dict.
        data: A table that replaces the spec's source: a file, a glob, a uri, or a table in memory
            as `init` takes it.
        tier: Replaces the spec's tier, unless empty.
        root: The folder of all runs.
        set: Values that replace those of the spec, as `{"train.epochs": 5}`.
        runner: Where Beam runs: local, prism, portable, flink, spark, ...
        runner_options: Options of the runner, by name.
        workers: Threads for preprocess; 0 means one per core. By default one per core, up to 4.
        pipeline: A compiled file to run instead of compiling one.
        trust: Whether to run a `pipeline` that compile would not write: it is a program.
        quick: Whether to try the spec on 20,000 rows from even places, for a few epochs, with a
            package that is not proved; nothing is promoted.
        no_cache: Whether to redo everything, even what has not changed.
        at: The end of source.window, if not now, such as 2013-07-01.
        notify: The https address of a webhook that hears how the run ended, or the version of a
            secret that holds one.

    Returns:
        The run, whose folder is `<root>/<name>/<run id>`.

    Raises:
        StepFailed: A step failed, or the model missed its gate (which does not stop a quick run);
            nothing after it ran. `error.run` is the run, with what it got to.
        QuatrainError: The spec, the tier or an option is wrong; nothing ran.
        KeyboardInterrupt: The run was interrupted; the message names its folder.
    """
    options = engine.with_workers(runner, runner_options or {}, workers)
    if pipeline is None:
        engine.check(runner, options)
        engine.check_here(runner)
    if notify:
        check_webhook(notify)
    with call_spec(spec, set, data, root) as call:
        _check_before(call.spec, tier, at)
        model_spec = call.keep()
    with tempfile.TemporaryDirectory(prefix="quatrain-compile-") as folder:
        path = local_path(pipeline) if pipeline else None
        try:
            finished = run_pipeline(
                path or compile_pipeline(Path(folder) / "training.yaml"),
                model_spec,
                local_path(root),
                tier=tier,
                runner=runner,
                runner_options=options,
                at=at,
                quick=quick,
                cached=not no_cache,
                notify=notify,
                trust=trust or pipeline is None,
                copied=lambda: shutil.rmtree(folder),  # a killed run would leave it
            )
        except StepFailed as error:
            with contextlib.suppress(QuatrainError):  # a full disk may have cut its record short
                error.run = Run(error.folder, root=root)
            raise
    return Run(finished.folder, root=root)


def _check_before(spec: ModelSpec, tier: str, at: str) -> None:
    """Refuses what would fail after minutes of preprocessing; the arguments are those of `run`."""
    resolve_tier(spec, tier)
    check_trainer(spec.train.trainer or "")
    for uri in spec.source.uri:
        check_login(uri)
    window_end(spec.source.window, at)
