"""The command line, one module for each verb or family of verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits: 0, 1 after a failure, 2 after a usage error.

    Args:
        arguments: What follows the program's name; by default, the arguments of this process.
    """
    from quatrain.cli import entry

    entry.main(arguments)
