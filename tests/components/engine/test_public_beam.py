"""Nothing here reaches into the private parts of Beam."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("benchmarks", "components", "pipelines", "quatrain", "tests", "trainer")
PUBLIC_BASES = {"DoFn", "CombineFn", "PTransform"}
"""What users of Beam subclass; the private names in such a class are its own."""
PRIVATE = """
import sys
import apache_beam as beam
import apache_beam.options as o
from apache_beam.runners.worker import statesampler, _private
from apache_beam.options.pipeline_options import PipelineOptions
statesampler.StateSampler.__init__.__defaults__ = (5,)
class Options(PipelineOptions):
    @classmethod
    def _add_argparse_args(cls, parser): ...
    def mine(self): return self._flags
beam.Pipeline()._options
o.pipeline_options._BeamArgumentParser
sys.modules["apache_beam.io"] = None
result = beam.Pipeline().run()
result._runner.dataflow_client
"""


def is_private(name: str) -> bool:
    return name.startswith("_") and name not in ("__init__", "__file__", "__name__", "__version__")


def root_of(node: ast.expr) -> str:
    """Returns the name that a chain of attributes and calls starts with; empty without one."""
    while isinstance(node, (ast.Attribute, ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def names_of_beam(tree: ast.AST) -> tuple[set[str], list[str]]:
    """Returns the names that hold something of Beam's, and the private names that are imported."""
    known, private = set[str](), list[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {
                a.asname or "apache_beam"
                for a in node.names
                if a.name.split(".")[0] == "apache_beam"
            }
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("apache_beam"):
            known |= {a.asname or a.name for a in node.names}
            words = [*(node.module or "").split("."), *(a.name for a in node.names)]
            private += [word for word in words if is_private(word)]
    for _ in range(2):  # a name may be made from a name that is made from Beam
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and root_of(node.value) in known:
                known |= {t.id for t in node.targets if isinstance(t, ast.Name)}
            elif isinstance(node, ast.withitem) and root_of(node.context_expr) in known:
                known |= {n.id for n in [node.optional_vars] if isinstance(n, ast.Name)}
    return known, private


def private_uses(text: str) -> Iterator[str]:
    """Yields each private part of Beam that a module names.

    These are attributes of what is imported or made from Beam, methods that a subclass of Beam's
    overrides, imports, and replaced modules.
    """
    tree = ast.parse(text)
    known, imported = names_of_beam(tree)
    yield from imported
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and root_of(node) in known:
            yield node.attr
        elif isinstance(node, ast.ClassDef) and any(root_of(b) in known for b in node.bases):
            names = {getattr(b, "attr", getattr(b, "id", "")) for b in node.bases}
            yield from () if names & PUBLIC_BASES else private_of(node)
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "sys.modules":
            yield from [ast.unparse(node)] if "apache_beam" in ast.unparse(node.slice) else []


def private_of(node: ast.ClassDef) -> Iterator[str]:
    """Yields the private names that a subclass of one of Beam's other classes defines or reads."""
    for child in ast.walk(node):
        if isinstance(child, ast.FunctionDef) and is_private(child.name):
            yield child.name
        if isinstance(child, ast.Attribute) and is_private(child.attr):
            yield child.attr


def test_each_private_part_is_found() -> None:
    assert set(private_uses(PRIVATE)) == {
        "_private",
        "__defaults__",
        "_add_argparse_args",
        "_flags",
        "_options",
        "_BeamArgumentParser",
        "_runner",
        "sys.modules['apache_beam.io']",
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_private_part_of_beam_is_used(folder: str) -> None:
    files = (p for p in (ROOT / folder).rglob("*.py") if p != Path(__file__))
    texts = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in files}
    of_beam = {name: text for name, text in texts.items() if "apache_beam" in text}
    assert not {n: uses for n, text in of_beam.items() if (uses := list(private_uses(text)))}
