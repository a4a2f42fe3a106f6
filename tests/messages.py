"""All messages of the sources: the texts of errors and other sentences, read from the code.

A part that is known only in a run stands as «its expression»: «#...» is a number, «=...» an error
of ours, whose message is read where it is raised. Where the code chooses between two texts, both
are messages.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from quatrain.components.wording import counted, near

ROOT = Path(__file__).parents[1]
_MOST, _DEPTH = 48, 3
"""How many forms of a message are read, and through how many names or functions."""
_NUMBER = re.compile(
    r"^(?:len|sum|round|int|max|min)\(|(?:^|\.)n_\w+$|(?:_bytes|_s|_mb)$|(?:^|[._])count$"
)
_Comprehension = ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp
_PLAIN_ERRORS = ("ValueError", "ArgumentTypeError", "UsageError", "BadParameter")
"""Errors of libraries with a message of ours: pydantic, argparse and click print it."""


@dataclass(frozen=True, order=True)
class Message:
    """A text that the sources write for people.

    Attributes:
        place: File and line of the source.
        kind: The class of the error; empty for other sentences.
        text: The text, with its variable parts in «».
    """

    place: str
    kind: str
    text: str


def sources() -> list[Path]:
    """The modules of the four folders that ship."""
    own = {p for p in (ROOT / "quatrain").iterdir() if not p.is_symlink()}
    folders = [*own, *(ROOT / f for f in ("pipelines", "components", "trainer"))]
    return sorted(p for folder in folders for p in [*folder.rglob("*.py"), folder] if p.is_file())


@cache
def _trees() -> Mapping[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources()}


@cache
def error_classes() -> frozenset[str]:
    """The names of the project's classes of errors."""
    bases = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for tree in _trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    known = {"Exception", "ValueError"}
    while more := {name for name, of in bases.items() if of & known} - known:
        known |= more
    return frozenset(known - {"Exception", "ValueError"})


@cache
def errors() -> tuple[Message, ...]:
    """The messages of the project's own errors, and of ValueErrors that libraries print for it."""
    return tuple(sorted(set(_errors())))


def _errors() -> Iterator[Message]:
    for path, tree in _trees().items():
        module = _module(path)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            kind = ast.unparse(node.func).rpartition(".")[2]
            argument = node.args[0]
            if kind == "ErrorRecord" and len(node.args) > 1:
                kind, argument = ast.unparse(node.args[0]).strip("'"), node.args[1]
            if kind == "ValueError" and module.is_caught(node):
                continue
            if kind in error_classes() or kind in _PLAIN_ERRORS:
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                for text in module.texts(argument):
                    yield Message(place, kind, text)


@cache
def sentences() -> tuple[Message, ...]:
    """All texts of four words or more, but docstrings: errors, findings, warnings, progress."""
    return tuple(sorted(set(_sentences())))


def _sentences() -> Iterator[Message]:
    for path in _trees():
        module = _module(path)
        for node in module.outermost_texts():
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            for text in module.texts(node):
                if len(re.sub("«[^»]*»", "", text).split()) > 3:
                    yield Message(place, "", text)


@cache
def _module(path: Path) -> _Module:
    return _Module(_trees()[path])


class _Module:
    """The texts of a module, with the names that stand for texts in it."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._forms: dict[tuple[ast.AST, int], list[str]] = {}
        self._set: dict[ast.AST, dict[str, list[ast.expr]]] = {}
        self._parents = {
            child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)
        }

    def outermost_texts(self) -> Iterator[ast.expr]:
        """Yields the texts that are no part of another one, and no docstring."""
        for node in ast.walk(self._tree):
            parent = self._parents.get(node)
            if not isinstance(node, ast.JoinedStr) and not (
                isinstance(node, ast.Constant) and isinstance(node.value, str)
            ):
                continue
            if isinstance(parent, ast.Expr | ast.JoinedStr | ast.FormattedValue | ast.BinOp):
                continue
            yield node

    def texts(self, node: ast.AST, depth: int = 0) -> list[str]:
        """Returns all forms of the text that an expression gives."""
        if (node, depth) not in self._forms:
            forms = itertools.islice(self._texts(node, depth), _MOST)
            self._forms[node, depth] = list(dict.fromkeys(forms))
        return self._forms[node, depth]

    def _texts(self, node: ast.AST, depth: int) -> Iterator[str]:
        match node:
            case ast.Constant(value=str(text)):
                yield text
            case ast.JoinedStr(values=parts):
                yield from self._in_order(parts, "", depth)
            case ast.List(elts=parts) | ast.Tuple(elts=parts) if parts:
                yield from self._in_order(parts, "", depth)
            case ast.BinOp(left=left, op=ast.Add(), right=right) if not _is_sum(node):
                yield from self._in_order([left, right], "", depth)
            case ast.FormattedValue():
                yield from self._value(node, depth)
            case ast.Call():
                yield from self._call(node, depth)
            case ast.Name():
                yield from self._name(node, depth)
            case _:
                choices = _choices(node)
                for choice in choices:
                    yield from self.texts(choice, depth)
                if not choices:
                    yield f"«{ast.unparse(node)}»"

    def _name(self, node: ast.Name, depth: int) -> Iterator[str]:
        if self._is_our_error(node):
            yield f"«={node.id}»"
            return
        home, values = self._home_of(node.id), []
        if depth < _DEPTH:
            own = home is self
            values = self._values_of(node.id, node) if own else home.values_of(node.id)
        texts = [text for value in values for text in home.texts(value, depth + 1)]
        yield from filter(None, texts)  # a text that may be empty is shown only if it is not
        if not any(texts):
            yield f"«{node.id}»"

    def _in_order(self, nodes: Sequence[ast.expr], separator: str, depth: int) -> Iterator[str]:
        forms = [self.texts(node, depth) for node in nodes]
        yield from map(separator.join, itertools.product(*forms))

    def _value(self, node: ast.FormattedValue, depth: int) -> Iterator[str]:
        expression = ast.unparse(node.value)
        spec = ast.unparse(node.format_spec)[2:-1] if node.format_spec else ""
        if node.conversion == ord("r"):
            yield f"'«{expression}»'"
        elif spec.endswith("%"):
            yield f"«{expression}»%"
        elif spec[-1:] in (*",dgfe",) or _NUMBER.search(expression):
            yield f"«#{expression}»"
        else:
            yield from self.texts(node.value, depth)

    def _call(self, node: ast.Call, depth: int) -> Iterator[str]:
        name = ast.unparse(node.func)
        match node.func:
            case ast.Attribute(value=ast.Constant(value=str(separator)), attr="join"):
                joined = node.args[0]
                if isinstance(joined, ast.List | ast.Tuple):
                    yield from self._in_order(joined.elts, separator, depth)
                else:
                    yield from self.texts(joined, depth)
            case _ if name == "str" and node.args:
                yield from self.texts(node.args[0], depth)
            case _ if name == "counted":
                words = [a.value for a in node.args[1:] if isinstance(a, ast.Constant)]
                yield from (counted(n, *words) if words else f"«{name}»" for n in (1, 2))
            case _ if name == "near":
                yield near("x", "x")
            case _ if name == "a_or_an":
                yield "«its article and words»"
            case ast.Name(id=name) if depth < _DEPTH:
                module = self._home_of(name)
                texts = [t for v in module.returned_by(name) for t in module.texts(v, depth + 1)]
                yield from texts or [f"«{ast.unparse(node)}»"]
            case _:
                yield f"«{ast.unparse(node)}»"

    def is_caught(self, node: ast.AST) -> bool:
        """Returns whether a ValueError is raised in a `try` that takes it over."""
        for scope, child in self._scopes(node):
            if isinstance(scope, ast.Try) and child in scope.body:
                return any("ValueError" in ast.unparse(h.type or h) for h in scope.handlers)
        return False

    def _scopes(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Yields what a node stands in, from the inside out, and the child that holds it."""
        while node in self._parents:
            yield self._parents[node], node
            node = self._parents[node]

    def _is_our_error(self, node: ast.Name) -> bool:
        """Returns whether a name is that of an error of ours, which has been caught."""
        for scope, _ in self._scopes(node):
            if isinstance(scope, ast.ExceptHandler) and scope.name == node.id and scope.type:
                kinds = scope.type.elts if isinstance(scope.type, ast.Tuple) else [scope.type]
                names = {ast.unparse(kind).rpartition(".")[2] for kind in kinds}
                return names <= error_classes()
        return False

    def _home_of(self, name: str) -> _Module:
        """Returns the module of ours that a name is imported from, or this one."""
        for node in self._tree.body:
            if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
                inner = f"{str(node.module).removeprefix('quatrain.').replace('.', '/')}.py"
                for path in (ROOT / inner, ROOT / "quatrain" / inner):
                    if path in _trees():
                        return _module(path)
        return self

    def _values_of(self, name: str, node: ast.AST) -> list[ast.expr]:
        """Returns what a name is set to, in its function, else in the module."""
        for scope, _ in self._scopes(node):
            if isinstance(scope, _Comprehension) and name in _targets(scope):
                return []
            if isinstance(scope, ast.FunctionDef | ast.Module):
                values = self._set_in(scope)
                if name in values:
                    return [v for v in values[name] if not _uses(v, name)]
        return []

    def values_of(self, name: str) -> list[ast.expr]:
        """Returns what a name of the module is set to."""
        return self._set_in(self._tree).get(name, [])

    def _set_in(self, scope: ast.FunctionDef | ast.Module) -> dict[str, list[ast.expr]]:
        """Returns what the names of a function or module are set to; a text that grows is none."""
        if scope not in self._set:
            inside = isinstance(scope, ast.FunctionDef)
            values: dict[str, list[ast.expr]] = (
                {n: [] for n in _parameters(scope)} if inside else {}
            )
            grown = set()
            for statement in ast.walk(scope) if inside else scope.body:
                for name, value in _assigned(statement):
                    values.setdefault(name, []).append(value)
                if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
                    grown.add(statement.target.id)
            self._set[scope] = values | {name: [] for name in grown}
        return self._set[scope]

    def returned_by(self, name: str) -> list[ast.expr]:
        """Returns what a function of this module returns or yields, if that is text."""
        for function in self._tree.body:
            if isinstance(function, ast.FunctionDef) and function.name == name:
                if "str" not in ast.unparse(function.returns or ast.Constant("")):
                    return []
                return [
                    node.value
                    for node in ast.walk(function)
                    if isinstance(node, ast.Return | ast.Yield)
                    and node.value is not None
                    and not (isinstance(node.value, ast.Constant) and node.value.value is None)
                ]
        return []


def _assigned(statement: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yields the names that a statement sets, with their expressions."""
    for target in statement.targets if isinstance(statement, ast.Assign) else ():
        value = statement.value
        if isinstance(target, ast.Name):
            yield target.id, value
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = zip(target.elts, value.elts, strict=False)
            yield from ((one.id, v) for one, v in pairs if isinstance(one, ast.Name))


def _choices(node: ast.AST) -> Sequence[ast.expr]:
    """Returns the expressions of which one gives the text of an expression."""
    match node:
        case ast.BoolOp(op=ast.Or(), values=choices):
            return [c for c in choices if not _is_empty(c)]
        case ast.IfExp(body=body, orelse=other):
            return [body, other]
        case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
            return [element]
        case ast.Starred(value=value):
            return [value]
    return []


def _targets(node: _Comprehension) -> set[str]:
    """Returns the names that a comprehension sets."""
    targets = (n for g in node.generators for n in ast.walk(g.target))
    return {n.id for n in targets if isinstance(n, ast.Name)}


def _is_empty(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""


def _is_sum(node: ast.BinOp) -> bool:
    """Returns whether an addition is one of numbers."""
    sides = node.left, node.right
    return any(isinstance(side, ast.Constant) and side.value == 1 for side in sides)


def _parameters(function: ast.FunctionDef) -> set[str]:
    return {a.arg for a in [*function.args.args, *function.args.kwonlyargs]}


def _uses(value: ast.expr, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(value))
