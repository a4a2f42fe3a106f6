"""The job's edge: arguments, outputs, the tuning report. The learning is in `model.py`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_type_hints

from . import failure
from .failure import Failure
from .importing import uncollected
from .job import Job, Outputs
from .settings import STRATEGIES, Hyperparameters, TrainerError, read_settings

if TYPE_CHECKING:
    from .checkpoints import Epoch

log = logging.getLogger("trainer")
TUNING_METRIC = "validation_loss"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments, trains and exports.

    A failure ends the process with the exit code of `trainer.failure`, its traceback in the log and
    `failure.json` beside the folder of the model; wrong arguments end it with code 2.

    Raises:
        TrainerError: Outputs have no place.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("tensorflow").setLevel(logging.WARNING)  # not how it writes a SavedModel
    job = parse_job(arguments)
    log.info(
        "trainer package sha256 %s, tier %s, strategy %s",
        job.package_sha256 or "(not packaged)",
        job.tier or "(none)",
        job.strategy,
    )
    failure.forget(job.outputs)
    try:
        with uncollected():  # TensorFlow: --help must not pay seconds for it
            from .cluster import check_gpus
            from .model import train

        check_gpus(job.gpus)
        log.info("model exported to %s", train(job, tuning_report()))
    except Exception as error:
        traceback.print_exception(error)
        failed = Failure.of(error)
        failure.record(failed, job.outputs)
        sys.exit(failed.exit_code)


def parse_job(arguments: Sequence[str] | None = None) -> Job:
    """Reads the command line; an unknown or malformed argument ends the process with code 2.

    Raises:
        TrainerError: Nothing says where outputs go.
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
        package_sha256=options["package_sha256"],
        tier=options["tier"],
    )


def tuning_report() -> Callable[[Epoch], None]:
    """Returns what writes the validation loss where Vertex's tuning reads it, one JSON a line.

    Raises:
        TrainerError: This is a trial, but nothing says where.
    """
    path = os.environ.get("CLOUD_ML_HP_METRIC_FILE")
    trial = os.environ.get("CLOUD_ML_TRIAL_ID", "0")
    if path is None and "CLOUD_ML_TRIAL_ID" in os.environ:
        raise TrainerError(
            f"trial {trial} can report no metric: CLOUD_ML_HP_METRIC_FILE is not set"
        )

    def report(epoch: Epoch) -> None:
        if path is None:
            return
        line = {
            "timestamp": time.time(),
            "trial": trial,
            TUNING_METRIC: str(epoch.validation_loss),
            "global_step": str(epoch.step),
        }
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")

    return report


class _Parser(argparse.ArgumentParser):
    """Leaves failure.json for wrong arguments too, where Vertex's variables say the place."""

    def error(self, message: str) -> NoReturn:
        try:
            outputs = Outputs.of(None, os.environ)
        except TrainerError:
            super().error(message)
        failure.record(Failure("arguments", message, "", 2), outputs)
        super().error(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m trainer.task",
        description="Trains a model on the examples that preprocessing committed, and exports it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--examples", required=True, metavar="URI", help="folder of examples, local or gs://")
    add("--job-dir", metavar="URI", help="folder for model/, checkpoints/, logs/; AIP_* wins")
    add("--strategy", choices=STRATEGIES, default="one_device", help="how replicas work together")
    add("--gpus", type=int, default=0, metavar="N", help="fail where there are fewer GPUs")
    add("--package-sha256", type=_sha256, default="", metavar="HEX", help="digest, for the record")
    add("--tier", default="", metavar="NAME", help="name of the tier, for the record")
    add(
        "--settings",
        type=_settings,
        default="{}",
        metavar="JSON",
        help="hyperparameters as one JSON object; an option of its own below overrides it",
    )
    _add_hyperparameters(parser.add_argument_group("hyperparameters"))
    return parser


def _add_hyperparameters(group: argparse._ArgumentGroup) -> None:
    """Adds an option a field; both spellings, as a tuning study names it like the field."""
    types = get_type_hints(Hyperparameters)
    for f in fields(Hyperparameters):
        read, metavar = _READERS[types[f.name]]
        spellings = dict.fromkeys((f"--{f.name.replace('_', '-')}", f"--{f.name}"))
        group.add_argument(
            *spellings,
            dest=f.name,
            type=read,
            default=argparse.SUPPRESS,  # tells an option that was given from one that was not
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
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}") from None


def _whole_numbers(text: str) -> tuple[int, ...]:
    """Reads `128,64`; an empty text means no hidden layer."""
    return tuple(int(part) for part in text.split(",") if part.strip())


def _sha256(text: str) -> str:
    if text and not re.fullmatch(r"[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 64 hexadecimal digits")
    return text


_READERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (_whole_number, "N"),
    float: (float, "X"),
    str: (str, "NAME"),
    tuple[int, ...]: (_whole_numbers, "N,N"),
}


if __name__ == "__main__":
    main()
