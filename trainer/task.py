"""The command of the trainer: arguments, failures, the report for tuning. `model.py` trains."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_type_hints

from . import failure
from .failure import Failure
from .importing import uncollected, unnamed, without
from .job import Job, Outputs, n_replicas
from .settings import (
    BALANCED,
    STRATEGIES,
    ClassWeights,
    Hyperparameters,
    TrainerError,
    read_settings,
)
from .streams import stderr_for_errors

if TYPE_CHECKING:
    from .checkpoints import Epoch

log = logging.getLogger("trainer")
TUNING_METRIC = "validation_loss"
TUNING_FILE = "/tmp/hypertune/output.metrics"  # noqa: S108 - Google's own name
TUNING_REPORTS = 100
"""How many reports the file keeps."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments, trains and exports.

    A failure prints a sentence, or the traceback of a bug, writes `failure.json` beside the model's
    folder and exits with a status of `trainer.failure`. Wrong arguments exit with status 2.

    Raises:
        TrainerError: The arguments and the environment name no folder for an output.
    """
    _start_logs()
    job = parse_job(arguments)
    log.info(
        "trainer package sha256 %s, tier %s, strategy %s",
        job.package_sha256 or "(not packaged)",
        job.tier or "(none)",
        job.strategy,
    )
    alone = n_replicas(os.environ) == 1
    if alone:  # another replica may have written the cause of this attempt
        failure.forget(job.outputs)
    try:
        with stderr_for_errors():
            with uncollected():  # here, so that --help need not wait seconds for TensorFlow
                with without(unnamed()):
                    import tensorflow  # noqa: F401
                from .cluster import check_gpus, check_tpus
                from .model import train

            check_gpus(job.gpus)
            check_tpus(job.tpus)
            log.info("model exported to %s", train(job, tuning_report()))
        if not alone:
            failure.forget(job.outputs)
    except Exception as error:
        cause = Failure.of(error, alone=alone)
        if cause.exit_code == failure.BROKEN:
            traceback.print_exception(error)
        else:
            print(f"error: {cause}", file=sys.stderr, flush=True)
        failure.record(cause, job.outputs)
        sys.exit(cause.exit_code)


def parse_job(arguments: Sequence[str] | None = None) -> Job:
    """Reads the command line; exits with status 2 at an unknown or malformed argument.

    Raises:
        TrainerError: The arguments and the environment name no folder for an output.
    """
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    singly = {f.name: options[f.name] for f in fields(Hyperparameters) if f.name in options}
    try:
        settings = Hyperparameters(**{**options["settings"], **singly})
    except ValueError as error:
        parser.error(str(error))
    return Job(
        examples=options["examples"],
        outputs=Outputs.of(options["job_dir"], os.environ),
        settings=settings,
        strategy=options["strategy"],
        gpus=options["gpus"],
        tpus=options["tpus"],
        package_sha256=options["package_sha256"],
        tier=options["tier"],
    )


def _start_logs() -> None:
    """Logs lines of the trainer with their time, and warnings of libraries with their name.

    Whoever watches the job takes the last line with a time for its progress.
    """
    if log.handlers:
        return
    own, others = (logging.StreamHandler(sys.stdout) for _ in range(2))
    own.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(own)
    log.setLevel(logging.INFO)
    log.propagate = False
    others.setFormatter(logging.Formatter("[%(name)s] %(message).1000s"))
    # TensorFlow renames the arguments of inner functions, one long line for each.
    others.addFilter(lambda record: "unsupported characters" not in str(record.msg))
    logging.basicConfig(level=logging.WARNING, handlers=[others])
    logging.captureWarnings(True)


def tuning_report() -> Callable[[Epoch], None]:
    """Returns a function that reports an epoch's validation loss to Vertex's tuning.

    It writes what cloudml-hypertune 0.1.0.dev6 writes, to the file of CLOUD_ML_HP_METRIC_FILE or,
    in a trial without it, to that library's own place: the last reports, a line of JSON each.
    Outside a trial it does nothing.

    Raises:
        TrainerError: The file cannot be written. The function raises the same later.
    """
    variables = ("CLOUD_ML_TRIAL_ID", "CLOUD_ML_HP_METRIC_FILE")
    if not any(os.environ.get(name) for name in variables):
        return lambda epoch: None
    trial, named = (os.environ.get(name) for name in variables)
    path = Path(named or TUNING_FILE)
    reports: deque[str] = deque(maxlen=TUNING_REPORTS)

    def write(mode: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open(mode) as file:
                file.writelines(reports)
        except OSError as error:
            raise TrainerError(
                f"the tuning metric cannot be written to {path}: {error.strerror}; run the image "
                "as root, who owns that folder on Vertex AI, or set CLOUD_ML_HP_METRIC_FILE to a "
                "file that this user may write"
            ) from error

    def report(epoch: Epoch) -> None:
        line = {
            "timestamp": time.time(),
            "trial": trial or "0",
            TUNING_METRIC: str(float(epoch.validation_loss)),
            "global_step": str(epoch.step),
            "checkpoint_path": "",
        }
        reports.append(json.dumps(line, sort_keys=True) + "\n")
        write("w")

    write("a")  # so that a file that cannot be written is known before the first epoch
    return report


class _TaskParser(argparse.ArgumentParser):
    """Writes failure.json at wrong arguments too, if Vertex's variables name the folders."""

    def error(self, message: str) -> NoReturn:
        try:
            outputs = Outputs.of(None, os.environ)
        except TrainerError:
            super().error(message)
        failure.record(Failure("arguments", message, "", 2), outputs)
        super().error(message)


def _parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = _TaskParser(
        prog="python -m trainer.task",
        description="Trains a model on the examples that preprocessing committed, and exports it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--examples", required=True, metavar="URI", help="folder of examples, local or gs://")
    add("--job-dir", metavar="URI", help="folder for model/, checkpoints/, logs/ without AIP_*")
    add("--strategy", choices=STRATEGIES, default="one_device", help="how replicas work together")
    add("--gpus", type=int, default=0, metavar="N", help="fail if there are fewer GPUs")
    add("--tpus", type=int, default=0, metavar="N", help="fail unless there are N TPU cores")
    add("--package-sha256", type=_sha256, default="", metavar="HEX", help="digest, for the record")
    add("--tier", default="", metavar="NAME", help="name of the tier, for the record")
    add(
        "--settings",
        type=_settings,
        default="{}",
        metavar="JSON",
        help="hyperparameters as one JSON object; the options below override it",
    )
    _add_hyperparameters(parser.add_argument_group("hyperparameters"))
    return parser


def _add_hyperparameters(group: argparse._ArgumentGroup) -> None:
    """Adds an option for each field, in two spellings: a tuning study uses the field's own."""
    types = get_type_hints(Hyperparameters)
    for f in fields(Hyperparameters):
        read, metavar = _READERS[types[f.name]]
        spellings = dict.fromkeys((f"--{f.name.replace('_', '-')}", f"--{f.name}"))
        group.add_argument(
            *spellings,
            dest=f.name,
            type=read,
            default=argparse.SUPPRESS,  # an absent option must not override --settings
            metavar=metavar,
            help=f"{f.metadata['help']} (default: {f.default})",
        )


def _settings(text: str) -> dict[str, Any]:
    try:
        return read_settings(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _whole_number(text: str) -> int:
    """Reads `256`, and `256.0`, as a tuning study writes the value of a discrete setting."""
    try:
        return int(re.sub(r"\.0*$", "", text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number") from None


def _whole_numbers(text: str) -> tuple[int, ...]:
    """Reads `128,64`; an empty text means no hidden layer."""
    return tuple(_whole_number(part.strip()) for part in text.split(",") if part.strip())


def _class_weights(text: str) -> Any:
    """Reads `balanced`, or a JSON object of a number for each class."""
    if text == BALANCED:
        return text
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(
            f'{text!r} must be balanced, or a JSON object such as {{"yes": 5}}'
        ) from None


def _sha256(text: str) -> str:
    if text and not re.fullmatch(r"[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be 64 hexadecimal digits")
    return text


_READERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (_whole_number, "N"),
    float: (_number, "X"),
    str: (str, "NAME"),
    tuple[int, ...]: (_whole_numbers, "N,N"),
    ClassWeights: (_class_weights, "JSON"),
}


if __name__ == "__main__":
    main()
