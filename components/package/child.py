"""Runs this Python as a child process to its end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

from quatrain.components.errors import PackageError

LAST_LINES = 5
"""As many lines of a failed process go into its error."""
_TRACEBACK = "Traceback (most recent call last):"


def run_python(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> str:
    """Runs `python -P ARGUMENTS` and returns what it wrote to stdout.

    The path is safe: nothing in the working directory, nor beside a script, is imported.

    Args:
        *arguments: As on the command line.
        cwd: Its working directory.
        env: Its whole environment; by default this one's.
        timeout_s: Kills it after so many seconds.

    Raises:
        PackageError: It failed, with its exit code and last words, or took too long.
    """
    try:
        done = subprocess.run(
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
    if done.returncode != 0:
        words = _last_words(done.stderr.strip() or done.stdout.strip())
        raise PackageError("\n".join([f"exit code {done.returncode}:", *words]))
    return done.stdout


def _last_words(text: str) -> list[str]:
    """Returns the last lines, of a traceback only what was raised."""
    lines = text.splitlines()
    if _TRACEBACK in lines:
        start = len(lines) - lines[::-1].index(_TRACEBACK)
        frames = takewhile(lambda line: line[:1] in ("", " "), lines[start:])
        lines = lines[start + len(list(frames)) :]
    return lines[-LAST_LINES:]
