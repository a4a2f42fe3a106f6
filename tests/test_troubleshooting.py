"""docs/troubleshooting.md lists the messages of the sources, and none that they no longer have."""

import re
from pathlib import Path

from tests.messages import Message, errors, sentences

PAGE = (Path(__file__).parents[1] / "docs/troubleshooting.md").read_text(encoding="utf-8")
LISTED = {
    "BucketError",
    "DataError",
    "DriftFailed",
    "GateFailed",
    "SourceDenied",
    "SourceError",
    "StepError",
    "TrainerError",
    "TrainingFailed",
}
"""Errors that rows, a machine or a service cause: each has an entry."""
UNLISTED = {
    **dict.fromkeys(
        ("ArgumentTypeError", "CloudError", "DocumentError", "ExpressionError", "OptionError"),
        "about what someone wrote: place, value and what is allowed stand in the message",
    ),
    **dict.fromkeys(
        ("LogError", "PipelineError", "PriceError", "RunnerError", "ScheduleError", "SpecError"),
        "the same",
    ),
    **dict.fromkeys(("TierError", "UsageError", "ValueError"), "the same"),
    "FrameError": "about what someone passed in Python; column, row and type stand in the message",
    "UnknownMetric": "the metrics that the run has stand in the message",
    "ArtifactError": "`is cut short or altered`, `is not the file that was exported` stand for it",
    "PortError": "the setting, the port and the system's reason stand in the message",
    "PackageError": "`the trainer package failed its check` stands for it",
    "MachinesLacking": "the answer of Vertex AI, with the tiers that may be had",
    "NoAnswer": "a part of a finding of doctor",
    "NotComparable": "about two runs that someone named; what differs stands in the message",
    "NoResponse": "`whether the job was made is not known` stands for it",
    **dict.fromkeys(("Conflict", "NotFound", "ReleaseError"), "docs/release.md lists them"),
    "NoticeError": "about an address that someone named, or a line of the log that fails nothing",
    **dict.fromkeys(("MirrorError", "ServedError"), "a line of the log that fails nothing"),
    "_Held": "no error: the release goes on later",
    "Overtaken": "about two promotions at once; who was faster stands in the message",
    "QuatrainError": "of the folder of runs; the most frequent are listed",
    "RunsNotFound": "about a place that someone named; it stands in the message",
    **dict.fromkeys(("StepFailed", "GateStepFailed"), "the error of the step"),
}
"""Errors that need no entry of their own, and why."""
IN_A_JOB = re.compile(
    r"/(?:cluster|golden|job|epochs|storage|task|training_job|served_model|input_file|input_rows|load_job|output_files|table_output|transform|best_trial|shard_folder|serve/predict)\.py"
)
"""Modules whose errors are about a job that someone has written by hand, about options, or bugs."""


def stems() -> list[str]:
    """Returns the messages of the first column of all tables."""
    return re.findall(r"^\| `(.+?)`[^|]*\|", PAGE, flags=re.M)


def pattern(stem: str) -> re.Pattern[str]:
    parts = [re.escape(part) for part in re.split(r"\s*\.\.\.\s*", stem)]
    return re.compile(r".*?".join(parts), re.S)


def shown(message: Message) -> str:
    return re.sub("[«»]", "", message.text)


def test_each_message_on_the_page_is_in_the_sources() -> None:
    texts = {shown(m) for m in (*errors(), *sentences())}
    gone = [s for s in stems() if not any(pattern(s).search(text) for text in texts)]
    assert not gone


def test_each_error_of_rows_machines_and_services_is_on_the_page() -> None:
    patterns = [pattern(stem) for stem in stems()]
    absent = {
        f"{m.place}: {m.text}"
        for m in errors()
        if m.kind in LISTED
        and not IN_A_JOB.search(m.place)
        and re.search(r"\w", re.sub("«[^»]*»", "", m.text))  # else it is another message of ours
        and not any(p.search(shown(m)) for p in patterns)
    }
    assert not absent, "\n".join(sorted(absent))


def test_each_kind_of_error_is_listed_or_has_a_reason_not_to_be() -> None:
    kinds = {m.kind for m in errors()}
    assert kinds <= LISTED | set(UNLISTED)
    assert set(UNLISTED) <= kinds


def test_the_page_is_no_dump() -> None:
    assert len(stems()) == len(set(stems()))
    assert 60 <= len(stems()) <= 140
