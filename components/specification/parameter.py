"""The spec as the pipeline carries it: JSON text in one parameter, or in a file that it names.

Linux bounds one argument of a process at 131 072 bytes (MAX_ARG_STRLEN), and Vertex AI bounds the
parameters of a task at the same number. A spec of some hundred columns fits. A longer one goes to a
file below the root, and the parameter holds the file's uri and digest.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from quatrain.components.errors import SpecError
from quatrain.components.specification.messages import schema_problems
from quatrain.components.specification.schema import ModelSpec, digest_of
from quatrain.components.storage import read_file, write_file

MAX_VALUES = 1_000_000
"""The largest document; YAML's aliases can write a list of 10^9 values in a few lines."""
MAX_PARAMETER_BYTES = 100_000
"""The longest text that goes into the parameter itself, measured as the executor's input holds it.
The rest of the 131 072 bytes is for the other inputs of a task."""
REFERENCE = {"uri", "sha256"}
"""The keys of a parameter that names a file."""


def is_bounded(value: Any) -> bool:
    """Whether a parsed document has at most MAX_VALUES values, each alias counted."""
    waiting, count = [value], 0
    while waiting:
        at = waiting.pop()
        count += 1
        if count > MAX_VALUES:
            return False
        if isinstance(at, Mapping):
            waiting += at.values()
        elif isinstance(at, list):
            waiting += at
    return True


def parameter_of(spec: ModelSpec, root: str) -> str:
    """Returns the pipeline's parameter: the spec's JSON text, or the uri and digest of its file.

    Args:
        spec: The model.
        root: The folder of all runs, a path or a gs:// uri. The file's name is its digest, so the
            same spec always has the same parameter.
    """
    text = spec.as_json()
    # The executor's input is JSON too, and escapes the text's quotes and all but ASCII characters.
    if len(json.dumps(text)) <= MAX_PARAMETER_BYTES:
        return text
    uri = f"{root.rstrip('/')}/{spec.name}/specs/{spec.sha256}.json"
    return json.dumps({"uri": uri, "sha256": spec.sha256})


def write_spec(spec: ModelSpec, root: str) -> None:
    """Writes the file that the parameter names; nothing if the parameter is the spec itself.

    Raises:
        SpecError: The file cannot be written.
    """
    reference = _reference(json.loads(parameter_of(spec, root)))
    if reference is None:
        return
    uri, data = reference["uri"], spec.as_json().encode()
    try:
        write_file(uri, data)
    except OSError as error:
        raise SpecError(
            f"the spec is too long for a parameter, and its file {uri} cannot be written: {error}; "
            f"choose a root that can be written to"
        ) from error


def read_parameter(text: str) -> ModelSpec:
    """Reads a spec as the pipeline carries it, and checks its schema only.

    Args:
        text: What `parameter_of` returned, or a spec as JSON text.

    Raises:
        SpecError: The text is not JSON, its file is gone or altered, or it does not describe a
            model; the message lists every problem with its place.
    """
    value = _parsed(text, "spec")
    if reference := _reference(value):
        value = _parsed(_read_file(**reference), reference["uri"])
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise SpecError(f"spec: is {kind}; it must be a mapping of the spec's sections")
    if not is_bounded(value):
        raise SpecError(f"spec: holds more than {MAX_VALUES:,} values; shorten it")
    try:
        return ModelSpec.model_validate(value)
    except ValidationError as error:
        problems = schema_problems(error.errors(), value)
        raise SpecError("\n".join(f"spec: {problem}" for problem in problems)) from error


def _reference(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict) or set(value) != REFERENCE:
        return None
    return value if all(isinstance(entry, str) for entry in value.values()) else None


def _parsed(text: str, where: str) -> Any:
    """Parses JSON; an error names where the text is from."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(
            f"{where}: is not JSON ({error}); `quatrain run` and `quatrain submit` write the "
            f"parameter"
        ) from error


def _read_file(uri: str, sha256: str) -> str:
    """Returns the text of a spec's file.

    Raises:
        SpecError: The file cannot be read, or has another digest.
    """
    mend = "start the run again, or apply the schedule again, to write a new one"
    try:
        text = str(read_file(uri), "utf-8")
    except (OSError, ValueError) as error:
        raise SpecError(f"the spec's file {uri!r} cannot be read ({error}); {mend}") from error
    if (digest := digest_of(text)) != sha256:
        raise SpecError(
            f"the spec's file {uri} has sha256 {digest[:12]}..., but the run was started with "
            f"{sha256[:12]}...; {mend}"
        )
    return text
