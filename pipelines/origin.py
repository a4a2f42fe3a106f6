"""Whether a pipeline file is one that this version compiles: any other is somebody's program.

A compiled file holds the commands of its steps, which run with the rights of whoever runs the file.
`quatrain compile` writes the same bytes for the same settings, so those of a file are read from it,
and the file is compared with what they give.
"""

from __future__ import annotations

import os
import re
import reprlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from quatrain.components.documents import read_documents
from quatrain.components.image import IMAGE, LAUNCHER_IMAGE
from quatrain.components.wording import counted
from quatrain.pipelines.compiled import Compiled, PipelineError, compile_pipeline

_IMAGE = re.compile(
    r"(?:[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?/)?[a-z0-9][a-z0-9._/-]*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]+)?",
    re.ASCII,
)
"""The name of an image, by a tag or a digest."""
_MEMORY, _CPU = re.compile(r"[1-9][0-9]*[KMGT]i?"), re.compile(r"[1-9][0-9]*")
MAX_RETRIES = 10
"""What `step_memory`, `step_cpu` and `retries` of cloud.yaml may be."""
SHOWN = 60
"""The number of characters that the message shows of a value."""


@dataclass(frozen=True)
class Settings:
    """What `compile_pipeline` takes, as far as a file shows it."""

    image: str = IMAGE
    retries: int = 0
    launcher_image: str = LAUNCHER_IMAGE
    memory: str = ""
    cpu: str = ""
    predicts: bool = False


def check_origin(compiled: Compiled, launcher_image: str = "") -> None:
    """Checks that a file is what `quatrain compile` of this version gives for its own settings.

    Args:
        compiled: The file.
        launcher_image: The image that its launchers must run; if empty, any.

    Raises:
        PipelineError: The file is another one; the message names the first difference.
    """
    where = ("root", "inputDefinitions", "parameters", "spec", "parameterType")
    if _at(compiled.spec, *where) == "STRUCT":
        raise PipelineError(
            f"{compiled.path}: was compiled by Quatrain 0.1; write a new one with `quatrain "
            f"compile -o FILE`"
        )
    settings = _settings_of(compiled, launcher_image)
    if difference := _first_difference(compiled.documents, _recompiled(settings)):
        raise PipelineError(
            f"{compiled.path}: is not what `quatrain compile` of this version writes: "
            f"{difference}; a pipeline file is a program that runs with your rights, so write one "
            f"with `quatrain compile -o FILE`, or add --trust if you trust whoever wrote this one"
        )


def _settings_of(compiled: Compiled, launcher_image: str) -> Settings:
    """Returns the settings of a file; the usual ones where it has something else."""
    own = Settings()
    dags = [_at(compiled.spec, "root"), *_values(_at(compiled.spec, "components"))]
    tasks = [task for dag in dags for task in _values(_at(dag, "dag", "tasks"))]
    retries = [_at(task, "retryPolicy", "maxRetryCount") for task in tasks]
    executors = _values(_at(compiled.spec, "deploymentSpec", "executors"))
    limits = [_at(executor, "container", "resources") for executor in executors]
    launcher_image = launcher_image or _first(sorted(compiled.launcher_images), _IMAGE)
    return Settings(
        _first(sorted(compiled.images), _IMAGE) or own.image,
        next((n for n in retries if type(n) is int and 0 < n <= MAX_RETRIES), own.retries),
        launcher_image or own.launcher_image,
        _first((_at(each, "resourceMemoryLimit") for each in limits), _MEMORY),
        _first((_at(each, "resourceCpuLimit") for each in limits), _CPU),
        compiled.predicts,
    )


@cache
def _recompiled(settings: Settings) -> list[Any]:
    """Returns the documents of the file that these settings give."""
    with tempfile.TemporaryDirectory(prefix="quatrain-compile-") as folder:
        return read_documents(compile_pipeline(Path(folder, "training.yaml"), **asdict(settings)))


def _first_difference(theirs: Sequence[Any], ours: Sequence[Any]) -> str:
    """Returns the first difference of two files, or an empty text."""
    if len(theirs) != len(ours):
        return f"it has {counted(len(theirs), 'document')} instead of {len(ours)}"
    pairs = zip(theirs, ours, strict=True)
    return next((text for pair in pairs for text in _differences(*pair, "")), "")


def _differences(theirs: Any, ours: Any, where: str) -> Iterator[str]:
    """Yields each difference of two documents, with its place in them."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            place = f"{where}.{key}".removeprefix(".")
            if key not in ours:
                yield f"it has {place}"
            elif key not in theirs:
                yield f"it lacks {place}"
            else:
                yield from _differences(theirs[key], ours[key], place)
    elif isinstance(theirs, list) and isinstance(ours, list):
        for i, pair in enumerate(zip(theirs, ours, strict=False)):
            yield from _differences(*pair, f"{where}[{i}]")
        if len(theirs) != len(ours):
            yield f"{where} has {counted(len(theirs), 'item')} instead of {len(ours)}"
    elif type(theirs) is not type(ours) or theirs != ours:
        cut = 0
        if isinstance(theirs, str) and isinstance(ours, str):
            cut = len(os.path.commonprefix([theirs, ours]))  # noqa: RUF071 - texts
        yield f"{where} is {_shown(theirs, cut)} instead of {_shown(ours, cut)}"


def _shown(value: Any, cut: int) -> str:
    """Returns a value for a message: of a long text, the part from where it differs."""
    if not isinstance(value, str) or len(value) <= SHOWN:
        return reprlib.repr(value)
    begin = max(cut - SHOWN // 2, 0)
    end = begin + SHOWN
    return f"{'...' * (begin > 0)}{value[begin:end]!r}{'...' * (end < len(value))}"


def _at(value: Any, *keys: str) -> Any:
    """Returns what stands at a place of a document, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else []


def _first(values: Iterable[Any], pattern: re.Pattern[str]) -> str:
    """Returns the first text of a form, or an empty one."""
    return next((v for v in values if isinstance(v, str) and pattern.fullmatch(v)), "")
