"""The command line, one module for each verb or family of verbs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits: 0, 1 after a failure, 2 after a usage error.

    Args:
        arguments: What follows the program's name; by default, the arguments of this process.
    """
    _leave_out_the_working_folder()
    from quatrain.cli import entry

    entry.main(arguments)


def _leave_out_the_working_folder() -> None:
    """Removes the working folder from the path if an empty entry of PYTHONPATH put it there.

    `export PYTHONPATH=$PYTHONPATH:/x` makes such an entry where the variable was empty, and nobody
    means by it that a queue.py of the working folder is to be imported. A `.` is left alone.
    """
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    here = os.getcwd()
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if len(entries) > 1 and "" in entries and here != own and not {".", here} & set(entries):
        sys.path[:] = [entry for entry in sys.path if entry not in ("", here)]
