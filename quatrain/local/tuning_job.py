"""Runs a Vertex HyperparameterTuningJob here; each trial is a custom job with its own arguments.

Trials run in rounds of `parallel_trial_count`. Optuna proposes the settings of a round from earlier
rounds only, and stops a trial that falls behind their median. The same job therefore proposes the
same settings, however long its trials take. The study is written in the form of Vertex's REST API.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quatrain.components.artifacts import write_json
from quatrain.components.train.best_trial import argument, with_arguments
from quatrain.components.wording import counted
from quatrain.local import training_job
from quatrain.local.processes import POLL_S

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    Distribution = FloatDistribution | IntDistribution | CategoricalDistribution

SEED = 0
STARTUP_TRIALS = 8
"""How many trials are drawn at random before the sampler learns from them; fewer in a short
study."""
WARMUP_REPORTS = 2
"""How many reports a trial makes before it can be stopped."""


@dataclass
class TuningTrial:
    """One trial: its settings, its reports and how it ended."""

    number: int
    proposed: optuna.trial.Trial
    parameters: Mapping[str, Any]
    values: list[float] = field(default_factory=list)
    lines: set[str] = field(default_factory=set)
    state: str = "ACTIVE"
    reason: str = ""
    cpu_s: float = 0.0
    peak_mb: float = 0.0

    def best(self, maximize: bool) -> float:
        """Returns the best reported value."""
        return max(self.values) if maximize else min(self.values)


class Study:
    """A tuning job on this machine.

    Args:
        job: The `--payload` of the tuning launcher.
        environ: The environment that the replicas inherit.
        log: The step's log; each trial has its own beside it.
        report: Receives each line of the progress table.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        environ: Mapping[str, str],
        log: Path,
        report: Callable[[str], None],
    ) -> None:
        self._job, self._environ, self._log, self._report = job, environ, log, report
        (metric,) = job["study_spec"]["metrics"]
        self.metric = str(metric["metric_id"])
        self.maximize = metric["goal"] == "MAXIMIZE"
        self._spaces = {p["parameter_id"]: _distribution(p) for p in _parameters(job)}
        self._folder = Path(job["trial_job_spec"]["base_output_directory"]["output_uri_prefix"])
        self._stopping = threading.Event()
        self.trials: list[TuningTrial] = []

    @property
    def path(self) -> Path:
        """The file of the finished study."""
        return self._folder / "study.json"

    @property
    def trial_log(self) -> Path:
        """The log of the trial that started last, or the step's."""
        return self._trial_log(self.trials[-1].number) if self.trials else self._log

    def run(self, tick: Callable[[], None]) -> training_job.Outcome:
        """Runs all trials, writes the study, and returns its outcome.

        The outcome is a failure if `max_failed_trial_count` trials fail, or all of them.
        """
        count, at_once = int(self._job["max_trial_count"]), int(self._job["parallel_trial_count"])
        optimizer = self._optimizer(count)
        self._report(self._row("trial", self.metric, "epochs", list(self._spaces)))
        with ThreadPoolExecutor(at_once, thread_name_prefix="trial") as pool:
            try:
                while len(self.trials) < count and not self._has_failed():
                    self._run_round(optimizer, min(at_once, count - len(self.trials)), pool, tick)
            finally:
                self._stopping.set()
        cpu_s = sum(trial.cpu_s for trial in self.trials)
        peak_mb = max(trial.peak_mb for trial in self.trials)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self.as_rest())
        bad = [trial for trial in self.trials if trial.state == "INFEASIBLE"]
        if self._has_failed() or len(bad) == len(self.trials):
            first = f"trial {bad[0].number}: {bad[0].reason}"
            reason = f"{len(bad)} of {counted(len(self.trials), 'trial')} failed; {first}"
            log = self._trial_log(bad[0].number)
            return training_job.Outcome(False, reason, log, cpu_s, peak_mb=peak_mb)
        return training_job.Outcome(True, "it succeeded", self._log, cpu_s, peak_mb=peak_mb)

    def as_rest(self) -> dict[str, Any]:
        """Returns the job in the form of Vertex's REST API."""
        metrics = [{"metricId": self.metric, "goal": "MAXIMIZE" if self.maximize else "MINIMIZE"}]
        return {
            "displayName": self._job["display_name"],
            "studySpec": {"metrics": metrics, "parameters": self._parameters_as_rest()},
            "maxTrialCount": int(self._job["max_trial_count"]),
            "parallelTrialCount": int(self._job["parallel_trial_count"]),
            "state": "JOB_STATE_FAILED" if self._has_failed() else "JOB_STATE_SUCCEEDED",
            "trials": [self._trial_as_rest(trial) for trial in self.trials],
        }

    def _optimizer(self, count: int) -> optuna.Study:
        """Returns Optuna's study, which first tries the settings in the job's command."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        startup = min(STARTUP_TRIALS, max(2, count // 3))
        study = optuna.create_study(
            direction="maximize" if self.maximize else "minimize",
            # A whole round is proposed before any of its trials has a result. The constant liar
            # assumes a bad result for each of them, so a round does not try one spot twice.
            sampler=optuna.samplers.TPESampler(
                seed=SEED, n_startup_trials=startup, constant_liar=True
            ),
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=min(4, startup), n_warmup_steps=WARMUP_REPORTS
            ),
        )
        study.enqueue_trial(_default_settings(self._job, self._spaces))
        return study

    def _run_round(
        self,
        optimizer: optuna.Study,
        count: int,
        pool: ThreadPoolExecutor,
        tick: Callable[[], None],
    ) -> None:
        """Runs `count` trials at once, and passes their results to the optimizer in order."""
        import optuna

        started: list[TuningTrial] = []
        for _ in range(count):
            proposed = optimizer.ask(dict(self._spaces))
            started.append(TuningTrial(len(self.trials) + 1, proposed, proposed.params))
            self.trials.append(started[-1])
        waiting: list[Future[None]] = [pool.submit(self._run_trial, trial) for trial in started]
        while not all(future.done() for future in waiting):
            tick()
            time.sleep(POLL_S)
        states = {
            "SUCCEEDED": optuna.trial.TrialState.COMPLETE,
            "STOPPING": optuna.trial.TrialState.PRUNED,
            "INFEASIBLE": optuna.trial.TrialState.FAIL,
        }
        for trial, future in zip(started, waiting, strict=True):
            future.result()
            values = trial.best(self.maximize) if trial.state == "SUCCEEDED" else None
            optimizer.tell(trial.proposed, values, state=states[trial.state])
            self._report(self._line(trial))

    def _run_trial(self, trial: TuningTrial) -> None:
        """Runs one trial as the custom job that Vertex would create for it."""
        folder = self._folder / str(trial.number)
        metrics = folder / "metrics.jsonl"
        metrics.unlink(missing_ok=True)
        spec = self._job["trial_job_spec"]
        arguments = [f"--{name}={argument(value)}" for name, value in trial.parameters.items()]
        job = {
            "job_spec": {
                **spec,
                "worker_pool_specs": with_arguments(spec["worker_pool_specs"], arguments),
                "base_output_directory": {"output_uri_prefix": str(folder)},
            }
        }
        service = {
            "CLOUD_ML_TRIAL_ID": str(trial.number),
            "CLOUD_ML_HP_METRIC_FILE": str(metrics),
        }

        def watch() -> None:
            self._read_reports(trial, metrics)
            if self._stopping.is_set() or trial.state == "STOPPING":
                raise training_job.Stopped

        log = self._trial_log(trial.number)
        outcome = training_job.run_job(job, self._environ, log, watch, service=service)
        trial.cpu_s, trial.peak_mb = outcome.cpu_s, outcome.peak_mb
        self._read_reports(trial, metrics)
        if trial.state == "STOPPING":
            return
        if outcome.succeeded and not trial.values:
            others = ", ".join(sorted(_tags(trial.lines))) or "nothing"
            trial.reason = f"it reported no metric {self.metric!r}, but {others}"
        elif not outcome.succeeded:
            trial.reason = outcome.reason
        trial.state = "INFEASIBLE" if trial.reason else "SUCCEEDED"

    def _read_reports(self, trial: TuningTrial, path: Path) -> None:
        """Adds a trial's new reports, and stops the trial if it falls behind the others."""
        for line in _lines(path):
            if line in trial.lines:  # Google's reporter writes its last hundred again each time
                continue
            trial.lines.add(line)
            report = json.loads(line)
            if self.metric not in report:
                continue
            value = float(report[self.metric])
            if trial.state == "STOPPING" or not math.isfinite(value):
                return
            trial.values.append(value)
            trial.proposed.report(value, len(trial.values) - 1)
            if trial.proposed.should_prune():
                trial.state = "STOPPING"

    def _has_failed(self) -> bool:
        allowed = int(self._job.get("max_failed_trial_count", 0))
        failed = sum(trial.state == "INFEASIBLE" for trial in self.trials)
        return 0 < allowed <= failed

    def _trial_log(self, number: int) -> Path:
        return self._log.with_name(f"{self._log.stem}-trial-{number}.log")

    def _line(self, trial: TuningTrial) -> str:
        value = f"{trial.best(self.maximize):.5g}" if trial.values else "none"
        mark = {"STOPPING": " stopped", "INFEASIBLE": " failed"}.get(trial.state, "")
        cells = [_in_words(trial.parameters[name]) for name in self._spaces]
        line = self._row(str(trial.number), value + mark, str(len(trial.values)), cells)
        succeeded = [t for t in self.trials if t.state == "SUCCEEDED"]
        best = min(succeeded, key=lambda t: self._order(t), default=None)
        return f"{line}  best" if trial is best else line

    def _order(self, trial: TuningTrial) -> tuple[float, int]:
        best = trial.best(self.maximize)
        return (-best if self.maximize else best), trial.number

    def _row(self, number: str, value: str, epochs: str, parameters: Sequence[str]) -> str:
        width = max(len(self.metric), 16)
        cells = [number.rjust(5), value.rjust(width), epochs.rjust(6)]
        widths = [max(len(name), 9) for name in self._spaces]
        cells += [text.rjust(w) for text, w in zip(parameters, widths, strict=True)]
        return "  ".join(cells)

    def _trial_as_rest(self, trial: TuningTrial) -> dict[str, Any]:
        """Returns a trial in the form of Vertex's REST API."""
        parameters = [{"parameterId": n, "value": v} for n, v in trial.parameters.items()]
        entry: dict[str, Any] = {
            "id": str(trial.number),
            "state": trial.state,
            "parameters": parameters,
        }
        if trial.values:
            best = trial.best(self.maximize)
            entry["finalMeasurement"] = {
                "stepCount": str(trial.values.index(best) + 1),
                "metrics": [{"metricId": self.metric, "value": best}],
            }
        if trial.reason:
            entry["infeasibleReason"] = trial.reason
        return entry

    def _parameters_as_rest(self) -> list[dict[str, Any]]:
        return [
            {_camel(k): _camel_keys(v) for k, v in parameter.items()}
            for parameter in _parameters(self._job)
        ]


_OWN_KEYS = {"timestamp", "trial", "global_step", "checkpoint_path"}
"""The keys of a line of the metric file that are not metrics."""


def _lines(path: Path) -> list[str]:
    """Returns the lines of a metric file; a last one without its end may be half written."""
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


def _tags(lines: Iterable[str]) -> set[str]:
    return {tag for line in lines for tag in json.loads(line)} - _OWN_KEYS


def _parameters(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(job["study_spec"]["parameters"])


def _distribution(parameter: Mapping[str, Any]) -> Distribution:
    """Returns Optuna's form of a `ParameterSpec`."""
    from optuna import distributions

    log = parameter.get("scale_type") == "UNIT_LOG_SCALE"
    if span := parameter.get("double_value_spec"):
        return distributions.FloatDistribution(span["min_value"], span["max_value"], log=log)
    if span := parameter.get("integer_value_spec"):
        low, high = int(span["min_value"]), int(span["max_value"])
        return distributions.IntDistribution(low, high, log=log)
    values = (parameter.get("discrete_value_spec") or parameter["categorical_value_spec"])["values"]
    return distributions.CategoricalDistribution(values)


def _default_settings(job: Mapping[str, Any], spaces: Mapping[str, Distribution]) -> dict[str, Any]:
    """Returns the settings in the trials' command, where they lie within the search space.

    They are tried first, so that a short study is never worse than no tuning.
    """
    from optuna import distributions

    container = job["trial_job_spec"]["worker_pool_specs"][0]["container_spec"]
    arguments = list(container.get("args", []))
    settings: dict[str, Any] = {}
    for name, space in spaces.items():
        option = f"--{name.replace('_', '-')}"
        if option not in arguments[:-1]:
            continue
        text = arguments[arguments.index(option) + 1]
        if isinstance(space, distributions.CategoricalDistribution):
            for choice in space.choices:
                if argument(choice) == text:
                    settings[name] = choice
        elif space.low <= float(text) <= space.high:
            settings[name] = type(space.low)(float(text))
    return settings


def _in_words(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def _camel_keys(value: Any) -> Any:
    return {_camel(k): v for k, v in value.items()} if isinstance(value, Mapping) else value
