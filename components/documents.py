"""Reads the YAML of people: specs, cloud.yaml, compiled pipelines, prices and values of options.

Whatever a text would expand to is counted before anything is built from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from quatrain.components.errors import QuatrainError
from quatrain.components.wording import first_line

MAX_BYTES = 1_000_000
"""The largest file: some ten thousand columns with a feature each."""
MAX_VALUES = 1_000_000
"""The largest document; YAML's aliases can write a list of 10^9 values in a few lines."""
MAX_DEPTH = 100
"""The deepest nesting. LibYAML's composer calls itself at each level, until the stack ends."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C takes a fifth of the time: 0.4 s, not 2 s, for a spec of 5 000 columns."""
_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_TAGS = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "timestamp", "seq", "map")
}


_REQUIREMENTS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "string_too_short": "must hold text",
    "too_short": "must hold at least one",
    "finite_number": "must be a finite number",
    "list_type": "must be a list",
    "date_type": "must be a day, as 2026-12-01",
    "date_parsing": "must be a day, as 2026-12-01",
    "date_from_datetime_parsing": "must be a day, as 2026-12-01",
    "date_from_datetime_inexact": "must be a day, as 2026-12-01",
    "missing": "is missing",
    "extra_forbidden": "is an unknown key",
    "unexpected_keyword_argument": "is an unknown key",
    "model_attributes_type": "must be a mapping",
}
"""What the types of pydantic's errors ask for, in the words of the other messages."""


class DocumentError(QuatrainError):
    """A text is not YAML that can be read; the message does not name its file."""


def requirement(error: Mapping[str, Any]) -> str:
    """Returns what a value must be by one of pydantic's errors, as `must be a whole number`."""
    message = str(error["msg"]).removeprefix("Value error, ")
    return _REQUIREMENTS.get(error["type"], message.replace("Input should", "must"))


def read_documents(path: Path | str) -> list[Any]:
    """Returns the YAML documents of a file; most files have one.

    Raises:
        DocumentError: The file is absent or too large, or see `parse`.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"cannot be read: {error.strerror}; check the name") from error
    return parse(data)


def parse(data: bytes | str) -> list[Any]:
    """Returns the documents of a text in YAML, whose mappings have texts as keys, each once.

    Raises:
        DocumentError: The text is not YAML, is too large, too deep or would expand to too much, or
            has a merge key, or a key that is not a text or stands twice.
    """
    if len(data) > MAX_BYTES:
        raise DocumentError(
            f"is larger than {MAX_BYTES:,} bytes, the most that is read; shorten it"
        )
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        _check_depth(text)
        loader = _Loader(text)
        try:
            documents = []
            while loader.check_node():
                node = loader.get_node()
                _check(node)
                documents.append(loader.construct_document(node))
            return documents
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        problem = re.sub(r"found une\w+ ", "found ", error.problem or error.context or "")
        raise DocumentError(f"is not YAML: {line}{problem}; correct that") from error
    except UnicodeDecodeError as error:
        number, byte = error.object.count(b"\n", 0, error.start) + 1, error.object[error.start]
        raise DocumentError(
            f"line {number}: byte 0x{byte:02x} is not valid UTF-8; save the file as UTF-8"
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # A control character, or no number or date of any calendar.
        raise DocumentError(f"is not YAML: {first_line(error)}; correct that") from error


def _check_depth(text: str) -> None:
    """Checks how deep a text nests, by its events, which need no stack."""
    depth, line = 0, 1
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth, line = depth + 1, event.start_mark.line + 1 if event.start_mark else line
            if depth > MAX_DEPTH:
                raise DocumentError(
                    f"line {line}: nests deeper than {MAX_DEPTH} levels; flatten it"
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check(root: Any) -> None:
    """Checks the keys of a document, and how many values it has with each alias counted."""
    waiting, count = [root], 0
    while waiting:
        node = waiting.pop()
        count += 1
        if count > MAX_VALUES:
            raise DocumentError(
                f"holds more than {MAX_VALUES:,} values, each alias counted; shorten it"
            )
        if node.tag not in _TAGS:
            raise DocumentError(
                f"is not YAML as it is read here: line {node.start_mark.line + 1} has the tag "
                f"{node.tag!r}; write plain texts, numbers, lists and mappings"
            )
        if isinstance(node, yaml.MappingNode):
            waiting += reversed([*_values(node)])  # the first fault of the text is reported
        elif isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)


def _values(node: yaml.MappingNode) -> Iterator[Any]:
    """Yields the values of a mapping, and checks its keys."""
    names = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag == _MERGE:
            raise DocumentError(
                f"line {line}: << takes over the keys of another mapping, which is not allowed "
                f"here; write them out"
            )
        if not isinstance(key, yaml.ScalarNode):
            raise DocumentError(f"line {line}: a name must be a text, not a list or a mapping")
        if key.tag != _TEXT:
            kind = key.tag.rpartition(":")[2]
            raise DocumentError(
                f"line {line}: {key.value}: a name is a text, and YAML reads this one as {kind}: "
                f'write "{key.value}"'
            )
        if key.value in names:
            raise DocumentError(f"line {line}: the key {key.value!r} stands twice; remove one")
        names.add(key.value)
        yield value
