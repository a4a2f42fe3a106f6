"""The process of one step: KFP's executor, and the command that starts it in a container."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from quatrain.components.errors import QuatrainError
from quatrain.components.termination import exit_on_termination
from quatrain.trainer.importing import NOTEBOOK, without

_BY_KFP = "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main "
EXIT = "notify"
"""The function of the exit task."""
_OURS = "exec env _KFP_RUNTIME=true python3 -m quatrain.pipelines.executor "


def replaced_command(command: Sequence[str]) -> list[str]:
    """Returns KFP's command of a component, with this module in the place of KFP's executor.

    KFP's shell would stay the first process of the container and take no notice of SIGTERM.

    Raises:
        QuatrainError: The command has not the form that kfp 2.17 writes.
    """
    start, rest = list(command[:2]), list(command[2:])
    if start != ["sh", "-ec"] or not rest or rest[0].count(_BY_KFP) != 1:
        raise QuatrainError(
            f"kfp wrote the command {list(command)[:3]}, in which {_BY_KFP!r} is expected once, "
            f"after sh -ec: read kfp/dsl/component_factory.py again and mend pipelines/executor.py"
        )
    return [*start, rest[0].replace(_BY_KFP, _OURS), *rest[1:]]


def main() -> None:
    """Runs the component that the arguments name, until it ends or SIGTERM ends it.

    No step of the pipeline needs what notebooks do.
    """
    if EXIT in sys.argv:  # KFP logs the inputs of a task, and an address is a secret
        logging.disable(logging.INFO)
    try:
        with exit_on_termination(), without(NOTEBOOK):
            # It takes a second, in which SIGTERM may come.
            from kfp.dsl.executor_main import executor_main

            executor_main()
    except (Exception, SystemExit) as error:
        from quatrain.components.notify.failures import record

        record(sys.argv, error)
        raise


if __name__ == "__main__":
    main()
