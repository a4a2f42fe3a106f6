"""Shows the progress of a run in the terminal: one line a step, with its key numbers."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from quatrain.components.artifacts import CACHED, run_again
from quatrain.components.candidates import (
    chosen_loss,
    left_out_in_words,
    others_in_words,
    refit_in_words,
)
from quatrain.components.folder import in_shape
from quatrain.components.specification.split import SPLITS
from quatrain.components.wording import counted, plain

REFRESH_S = 0.5
"""Seconds between updates of the line that shows a running step on a terminal."""
NOTEBOOK_S, UNCHANGED_S, NOTEBOOK_SHARE = 2.0, 10.0, 0.1
"""In a notebook, which may save each update as an output: the fewest seconds between two of them,
those while only the time changes, and the fewest as a share of the step's time so far."""
FIRST_HEARTBEAT_S, HEARTBEAT_S = 10.0, 30.0
"""Seconds before the first line of a long step where the output is not a terminal, and between the
later ones."""

_NOTHING: Mapping[str, str] = {}
_PROGRESS = re.compile(r"(?:[\d-]{10} [\d:]{8},\d{3} (?P<trainer>.+)|(?P<step>[a-z]+: .+))$")
"""A line that the trainer logged, after a time, or that a step printed, after its name."""


def progress_stream() -> TextIO:
    """Returns where this process prints the progress of a run.

    It is stderr, but in a notebook, which shows stderr in red.
    """
    return sys.stdout if _is_notebook(sys.stdout) else sys.stderr


def _is_notebook(stream: object) -> bool:
    return type(stream).__module__ == "ipykernel.iostream"


class Console:
    """Prints progress lines; on a terminal or in a notebook, the last one is updated in place.

    Args:
        stream: Receives the lines.
        n_steps: How many steps the run has.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, stream: TextIO, n_steps: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._n_steps, self._clock = stream, n_steps, clock
        self._terminal: TextIO = getattr(stream, "unfiltered", stream)
        self._is_notebook = _is_notebook(stream)
        self._is_in_place = stream.isatty() or self._is_notebook
        # A notebook goes back to the start of a line, but knows no escape that clears it.
        self._clearing = "\r\x1b[K" if stream.isatty() else "\r"
        self._drawn = 0
        self._last_print_s = 0.0
        self._progress = ""

    def print(self, text: str) -> None:
        """Prints one line."""
        self._clear()
        print(plain(text), file=self._stream, flush=True)

    def step_started(self, number: int, name: str) -> None:
        """Prints which step starts."""
        self._last_print_s, self._progress = self._clock(), ""
        if not self._is_in_place:
            self.print(f"[{number}/{self._n_steps}] {name} ...")

    def step_goes_on(self, number: int, name: str, elapsed_s: float, log: Path | None) -> None:
        """Prints how long a step has run, and the last progress in its log.

        Prints nothing if the last print is too recent.

        Args:
            number: Number of the step, from 1 up.
            name: Name of the step.
            elapsed_s: Seconds since the step started.
            log: The local log of the step; None: there is none.
        """
        now_s = self._clock()
        silent_s = now_s - self._last_print_s
        if silent_s < self._pause_s(elapsed_s):
            return
        progress = _last_progress(log) if log else ""
        if self._is_notebook and progress == self._progress and silent_s < UNCHANGED_S:
            return
        self._last_print_s, self._progress = now_s, progress
        text = f"[{number}/{self._n_steps}] {name} {elapsed_s:5.0f} s  {progress}"
        if self._is_in_place:
            width = shutil.get_terminal_size().columns - 1
            shown = plain(text)[:width]
            self._clear()
            print(shown, end="", file=self._terminal, flush=True)
            self._drawn = len(shown)
        else:
            self.print(text)

    def _pause_s(self, elapsed_s: float) -> float:
        """Returns after how many seconds without a print the next one is due."""
        if self._is_notebook:
            return max(NOTEBOOK_S, NOTEBOOK_SHARE * elapsed_s)
        if self._is_in_place:
            return REFRESH_S
        return FIRST_HEARTBEAT_S if elapsed_s < HEARTBEAT_S else HEARTBEAT_S

    def step_ended(self, number: int, name: str, wall_s: float, outcome: str) -> None:
        """Prints how long a step took, and its outcome."""
        self.print(f"[{number}/{self._n_steps}] {name:<10} {wall_s:6.1f} s  {outcome}")

    def _clear(self) -> None:
        if self._is_in_place:
            blank = "" if self._clearing != "\r" else f"\r{' ' * self._drawn}"
            print(f"{blank}{self._clearing}", end="", file=self._terminal)
            self._drawn = 0


def summarize(artifacts: Mapping[str, str], cached: Mapping[str, str] = _NOTHING) -> str:
    """Returns the key numbers of a step's artifacts, and what was taken from the cache.

    Args:
        artifacts: The folders of the artifacts, whose manifests have the numbers.
        cached: What was taken from the cache, each with the run that made it.

    Raises:
        ArtifactError: A manifest has another shape, as a user's own trainer may write it.
    """
    numbers = "; ".join(_numbers(artifacts[name], name, m) for name, m in _manifests(artifacts))
    taken = ", ".join(f"{what} from the cache (run {run})" for what, run in cached.items())
    return ": ".join(filter(None, (taken, numbers)))


def taken_from_cache(artifacts: Mapping[str, str]) -> dict[str, str]:
    """Returns what the artifacts' manifests say was taken from the cache, with the run of each."""
    return {w: run for _, m in _manifests(artifacts) for w, run in m.get(CACHED, {}).items()}


def _manifests(artifacts: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for name, (manifest, *_) in _SUMMARIES.items():
        path = Path(artifacts.get(name, "")) / manifest
        if name in artifacts and path.is_file():
            yield name, json.loads(path.read_text(encoding="utf-8"))


def _numbers(folder: str, name: str, manifest: dict[str, Any]) -> str:
    file, step, in_words = _SUMMARIES[name]
    with in_shape(f"{folder}/{file}", run_again(step)):
        return in_words(manifest)


def _examples(manifest: dict[str, Any]) -> str:
    text = rows_in_words(manifest["rows"])
    if window := manifest.get("window"):
        text += f"; days {window['first']} to {window['last']}"
        if missing := len(window["without_files"]):
            text += f", {missing} of {window['days']} without files"
    warnings = manifest["warnings"]  # the run ends with their sentences
    return f"{text}; {counted(len(warnings), 'warning')}" if warnings else text


def rows_in_words(rows: Mapping[str, int]) -> str:
    """Returns the row counts of a manifest in words."""
    splits = ", ".join(f"{rows[s]:,} {s}" for s in SPLITS)
    return f"{counted(rows['read'], 'row')}: {splits}, {rows['rejected']:,} rejected"


def _package(manifest: dict[str, Any]) -> str:
    n_checks = len(manifest["checks"])
    outcome = f"{counted(n_checks, 'check')} passed" if n_checks else "not proved"
    return f"sha256 {manifest['sha256'][:12]}, {outcome}"


def _model(metadata: dict[str, Any]) -> str:
    """Returns the steps or rounds of a training, what ended it, and its validation loss."""
    steps, epochs = counted(metadata["steps"], "step"), counted(metadata["epochs"], "epoch")
    text = f"{steps}, {epochs} ({metadata['stopped']})"
    if metadata.get("model", {}).get("kind") == "trees":
        text = f"{counted(metadata['steps'], 'round')} ({metadata['stopped']})"
    if model := metadata.get("model"):  # a user's own trainer may not write it
        others = others_in_words(model)
        text = f"{model['kind']}: {text}, validation loss {chosen_loss(model):.4f}"
        text = f"{text}; not exported: {others}" if others else text
        refit = refit_in_words(model)
        text = f"{text}; refit on {refit}" if refit else text
        left_out = left_out_in_words(model)
        return f"{text}; left out: {left_out}" if left_out else text
    losses = [e["validation_loss"] for e in metadata["history"] if e.get("validation_loss")]
    return f"{text}, best validation loss {min(losses):.4f}" if losses else text


def _evaluation(metrics: dict[str, Any]) -> str:
    known = [(n, m["value"]) for n, m in metrics["metrics"].items() if m["value"] is not None]
    values = ", ".join(f"{name} {value:.4f}" for name, value in known[:3])
    return f"{counted(metrics['rows'], 'test row')}: {values}"


_SUMMARIES = {
    "examples": ("manifest.json", "preprocess", _examples),
    "package": ("package.json", "package", _package),
    "model": ("model/metadata.json", "train", _model),
    "evaluation": ("metrics.json", "evaluate", _evaluation),
}


def _last_progress(log: Path) -> str:
    """Returns the last line that a step or its trainer logged, past the lines of libraries."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - 8_000))
        lines = stream.read().decode("utf-8", errors="replace").split("\n")
    matches = (_PROGRESS.match(line) for line in reversed(lines))
    return next((match["trainer"] or match["step"] for match in matches if match), "")
