"""Beam's options by their names, as Beam itself declares and reads them.

Beam ignores an option that it does not know; here it is an error.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from quatrain.components.errors import RunnerError
from quatrain.components.wording import near

_HELP = ("h", "help")
"""The options of every parser, which would print its help and end the process."""


def read(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of `PipelineOptions` that some options set, with their values.

    Args:
        chosen: Options by Beam's names. A list repeats an option. Whole floats are integers, which
            KFP has turned into floats.

    Raises:
        RunnerError: An option is unknown or has a wrong value.
    """
    declared, attributes = _Declarations(), dict[str, Any]()
    if unknown := [name for name in chosen if not declared.knows(name)]:
        raise RunnerError(
            f"runner option {unknown[0]!r} is none of Beam's{near(unknown[0], declared.names)}"
        )
    for name, value in chosen.items():
        try:
            attributes |= declared.read(name, value)
        except OptionError as error:
            raise RunnerError(f"runner option {name}={value!r}: {error}") from error
    return attributes


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of several layers in one.

    A later value replaces an earlier one, but an option that may be repeated keeps the values of
    all layers: an experiment of the user's does not take away those that a job needs.
    """
    if sum(bool(layer) for layer in layers) < 2:
        return {name: value for layer in layers for name, value in layer.items()}
    declared, merged = _Declarations(), dict[str, Any]()
    names: dict[str, str] = {}  # an option may have two names
    for name, value in ((n, v) for layer in layers for n, v in layer.items()):
        attribute = declared.attribute(name, value)
        earlier = names.setdefault(attribute, name)
        if earlier in merged and declared.is_repeatable(name):
            values = [*_as_list(merged[earlier]), *_as_list(value)]
            merged[earlier] = [v for i, v in enumerate(values) if v not in values[:i]]
            continue
        merged.pop(earlier, None)
        names[attribute] = name
        merged[name] = value
    return merged


class OptionError(Exception):
    """Beam's parser refuses an option."""


class _Declarations:
    """The options that Beam declares, by the parser that it gives to runners with more of them."""

    def __init__(self) -> None:
        parsers: list[argparse.ArgumentParser] = []
        self._defaults = PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
        [self._parser] = parsers
        self._parser.exit_on_error = False

    @property
    def names(self) -> list[str]:
        """The names of the options, each by the attribute that it sets."""
        return sorted(self._defaults)

    def knows(self, name: str) -> bool:
        """Returns whether Beam declares an option."""
        try:
            return name not in _HELP and not self._parse(f"--{name}=x")[1]
        except OptionError:  # it is not one that may be x
            return True

    def read(self, name: str, value: Any) -> dict[str, Any]:
        """Returns the attribute that an option sets, with its value; nothing if by default.

        Raises:
            OptionError: The value is wrong.
        """
        return self._parse(*self._arguments(name, value))[0]

    def attribute(self, name: str, value: Any) -> str:
        """Returns the attribute that an option sets, or its own name if Beam refuses the value."""
        if name in self._defaults:
            return name
        try:
            return next(iter(self.read(name, value)), name)
        except OptionError:
            return name

    def is_repeatable(self, name: str) -> bool:
        """Returns whether an option may be given several times, so that it holds a list."""
        try:
            return any(isinstance(v, list) for v in self._parse(f"--{name}=1")[0].values())
        except OptionError:
            return False

    def _arguments(self, name: str, value: Any) -> Iterator[str]:
        """Yields the command-line arguments that give an option its value."""
        if self._is_switch(name):
            if value not in (True, "true", "True"):
                raise OptionError("it is a switch; write true, or leave it out")
            yield f"--{name}"
            return
        for item in _as_list(value):
            is_whole = isinstance(item, float) and item.is_integer()
            yield f"--{name}={int(item) if is_whole else item}"

    def _is_switch(self, name: str) -> bool:
        try:
            self._parse(f"--{name}")
        except OptionError:
            return False
        try:
            self._parse(f"--{name}=x")
        except OptionError:
            return True
        return False  # its value may be left out

    def _parse(self, *arguments: str) -> tuple[dict[str, Any], list[str]]:
        """Returns the attributes that differ from their defaults, and the unknown arguments."""
        try:
            parsed, unknown = self._parser.parse_known_args(arguments)
        except argparse.ArgumentError as error:
            raise OptionError(f"Beam refuses it: {error}; correct it") from error
        read = {n: v for n, v in vars(parsed).items() if v != self._defaults[n]}
        return read, unknown


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
