"""Writes a draft as YAML: the spec, with the reason for each line after or above it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from quatrain.draft.draft import Draft, Entry

WIDTH = 100
COMMENT_AT = 38
"""The column where a comment after a line starts, unless the line is longer."""


def write(draft: Draft, path: str = "") -> str:
    """Returns a draft as YAML.

    Args:
        draft: The inferred spec.
        path: The file that it is written to, for the command in its first line; empty for none.
    """
    return "\n".join([*_head(draft, path), *_sections(draft), ""])


def scalar(value: Any) -> str:
    """Returns a value as YAML on one line."""
    text = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True,
        allow_unicode=True,
        width=10**9,
        sort_keys=False,
    )
    return text.removesuffix("\n").removesuffix("\n...")


class _Dumper(yaml.SafeDumper):
    """Writes a text with line ends in double quotes, as YAML of one line needs."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = '"' if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _head(draft: Draft, path: str) -> Iterator[str]:
    """Yields the comment above the spec: the command, where it comes from, and the remarks."""
    if path:
        yield f"# Written by quatrain init; it runs as it is: quatrain run {_safe(path)}"
    else:
        yield "# Proposed by quatrain.init; it runs as it is: quatrain.run(proposal)"
    for sentence in draft.about:
        yield from _wrapped(sentence)
    if draft.questions:
        yield "#"
        yield "# Look at:"
    for question in draft.questions:
        yield from _wrapped(question.text, first="# - ", rest="#   ")
        yield from (f"#     {_safe(line)}" for line in question.lines)
    if draft.remarks:
        yield "#"
        yield "# Also:"
    for remark in draft.remarks:
        yield from _wrapped(remark, first="# - ", rest="#   ")


def _wrapped(text: str, first: str = "# ", rest: str = "# ") -> list[str]:
    return textwrap.wrap(
        _safe(text), WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False
    )


def _safe(text: str) -> str:
    """Returns a text that cannot leave its comment: unprintable characters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _sections(draft: Draft) -> Iterator[str]:
    """Yields the lines of each section, with its comment."""
    for key, value in draft.document.items():
        comment = draft.comments.get(key, "")
        if key == "columns":
            yield "columns:"
            for name, entry in draft.columns.items():
                yield from _entry(f"{scalar(name)}: {scalar(entry.value)}", entry)
        elif key == "features":
            yield "features:"
            for feature in _grouped(draft.features):
                yield from _entry(f"- {scalar(feature.value)}", feature)
        elif isinstance(value, Mapping):
            yield from _commented(f"{key}:", comment)
            yield from _inner(draft, key, value)
        else:
            yield from _commented(f"{key}: {scalar(value)}", comment)


def _inner(draft: Draft, section: str, value: Mapping[str, Any]) -> Iterator[str]:
    for key, inner in value.items():
        comment = draft.comments.get(f"{section}.{key}", "")
        if isinstance(inner, Mapping) and inner:
            yield from _commented(f"  {key}:", comment)
            yield from (f"    {scalar(k)}: {scalar(v)}" for k, v in inner.items())
        else:
            yield from _commented(f"  {key}: {scalar(inner)}", comment)


def _grouped(features: list[Entry]) -> Iterator[Entry]:
    """Yields the features; the first feature of a column keeps a comment that they share."""
    previous = None
    for feature in features:
        reason = (feature.value["from"], feature.comment)
        yield Entry(feature.value, "" if reason == previous else feature.comment, feature.is_active)
        previous = reason


def _entry(text: str, entry: Entry) -> Iterator[str]:
    return _commented(f"  {text}" if entry.is_active else f"  # {text}", entry.comment)


def _commented(line: str, comment: str) -> Iterator[str]:
    """Yields a line with its comment: after it if both fit in one line, else above it."""
    if not comment:
        yield line
        return
    one_line = f"{line.ljust(COMMENT_AT - 1)} # {_safe(comment)}"
    if len(one_line) <= WIDTH:
        yield one_line
        return
    indent = f"{line[: len(line) - len(line.lstrip())]}# "
    yield from _wrapped(comment, indent, indent)
    yield line
