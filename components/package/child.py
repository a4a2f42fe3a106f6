"""Runs this Python interpreter as a child process, and waits for its end."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, takewhile
from pathlib import Path

from quatrain.components.errors import PackageError

LAST_LINES = 5
"""The number of lines of a failed process that go into its error."""
_NO_SPACE = os.strerror(errno.ENOSPC)
_FRAME = re.compile(r' *File "(?P<path>.+)", line (?P<line>\d+), in (?P<function>.+)')
_TRACEBACK = "Traceback (most recent call last):"


def run_python(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    own: Mapping[Path, str] = {},
) -> str:
    """Runs `python -P ARGUMENTS` and returns its standard output.

    The path is safe: nothing in the working directory, nor beside a script, is imported.

    Args:
        *arguments: The arguments of Python.
        cwd: The working directory.
        env: The whole environment; by default that of this process.
        timeout_s: The seconds after which the process is killed.
        own: Files and folders of a user's code, with the name to show for each: where a traceback
            last passes through one of them, the error names the line.

    Raises:
        PackageError: The process failed or took too long; the message has its last lines.
    """
    try:
        process = subprocess.run(
            [sys.executable, "-P", *arguments],
            cwd=cwd,
            env=None if env is None else dict(env),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"it did not end within {timeout_s:g} s") from error
    if process.returncode != 0:
        lines = _last_lines(process.stderr.strip() or process.stdout.strip(), own)
        full = [line for line in process.stderr.splitlines() if _NO_SPACE in line]
        lines = [*full[:1], *lines]  # pip ends with advice, far below the reason
        raise PackageError("\n".join([f"exit code {process.returncode}:", *lines]))
    return process.stdout


def _last_lines(text: str, own: Mapping[Path, str]) -> list[str]:
    """Returns the last lines of an output; of a traceback, only the place and the exception."""
    lines = text.splitlines()
    if _TRACEBACK in lines:
        start = len(lines) - lines[::-1].index(_TRACEBACK)
        frames = list(takewhile(lambda line: line[:1] in ("", " "), lines[start:]))
        places = list(_places(frames, own))
        return [*places[-1:], *lines[start + len(frames) :][-LAST_LINES:]]
    return lines[-LAST_LINES:]


def _places(frames: Sequence[str], own: Mapping[Path, str]) -> Iterator[str]:
    """Yields the file, line and text of each frame of a traceback that is in a user's code."""
    for frame, text in pairwise([*frames, ""]):
        if (match := _FRAME.fullmatch(frame)) is None:
            continue
        path = Path(match["path"])
        for code, name in own.items():
            if path.is_relative_to(code):
                inside = path.relative_to(code).as_posix()
                shown = name if inside == "." else f"{name}/{inside}"
                yield f"{shown}:{match['line']}, in {match['function']}: {text.strip()}"
