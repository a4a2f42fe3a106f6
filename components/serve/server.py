"""Serves an exported model by Vertex AI's protocol.

    python -P -m quatrain.components.serve.server

Vertex sets the port, the routes and the model in environment variables: `AIP_HTTP_PORT`,
`AIP_HEALTH_ROUTE`, `AIP_PREDICT_ROUTE` and `AIP_STORAGE_URI`
(https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements). Google's own
serving images end at TensorFlow 2.15, so our image has a server of its own. It listens at once,
and answers 503 until the model is loaded.
"""

from __future__ import annotations

import os
import re
import sys

from quatrain.components.errors import PortError
from quatrain.components.faults import in_a_sentence
from quatrain.components.serve.model_folder import find_model
from quatrain.components.serve.online.listener import drop_root, serve_until_stopped
from quatrain.components.serve.online.service import Service
from quatrain.components.serve.online.version import Slot, Version, load_version
from quatrain.components.termination import exit_on_termination
from quatrain.trainer.streams import stderr_for_errors

MAX_PORT = 65535


def load(uri: str) -> Version:
    """Loads a model, local or `gs://`, and checks the digests of its files.

    Args:
        uri: The folder of a model, or of a run or of all runs of a model, as `predict` takes it.

    Raises:
        QuatrainError: The folder is not a complete model, or cannot be read.
    """
    return load_version(find_model(uri))


def port_of(text: str) -> int:
    """Returns the number of a port, which is checked before the model takes its time to load.

    Raises:
        PortError: The text is no such number.
    """
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > MAX_PORT:
        raise PortError(
            f"the variable AIP_HTTP_PORT is {text[:50]!r}; set it to a port from 0 to {MAX_PORT}"
        )
    return int(text)


def main() -> None:
    """Serves until the process is stopped; the requests that it has begun are still answered."""
    with exit_on_termination():
        _serve()


def _serve() -> None:
    environment = os.environ
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    if not (uri := environment.get("AIP_STORAGE_URI") or "".join(sys.argv[1:2])):
        sys.exit("error: set AIP_STORAGE_URI, or give the model's folder")
    slot = Slot()
    service = Service(
        slot,
        environment.get("AIP_HEALTH_ROUTE", "/health"),
        environment.get("AIP_PREDICT_ROUTE", "/predict"),
    )

    def load_first() -> None:
        with stderr_for_errors():
            slot.version = load(uri)

    def ready(port: int) -> None:
        drop_root()
        print(f"serving on port {port}", flush=True)

    with in_a_sentence():
        port = port_of(environment.get("AIP_HTTP_PORT", "8080"))
        serve_until_stopped(service, port, load_first, ready)
    os._exit(0)  # at once: Python would wait for TensorFlow's threads


if __name__ == "__main__":
    main()
