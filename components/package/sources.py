"""Checks a trainer's source folder before it is built or run."""

from __future__ import annotations

import ast
import importlib.machinery
import sys
from collections.abc import Iterator
from pathlib import Path

from quatrain.components.errors import PackageError

REQUIRED = ("pyproject.toml", "__init__.py", "task.py", "model.py")
PACKAGE = "trainer"
IGNORED = ("__pycache__", "*.pyc", "*.egg-info", "build", "dist", ".*")
"""Patterns of files and folders that do not go into the package."""

_CODE = Path(__file__).parents[3]
_OURS = ("quatrain",)


def check_sources(folder: Path, model: Path | None = None) -> None:
    """Checks that a folder can become a trainer package.

    Args:
        folder: The folder.
        model: The user's file that stands in it as `model.py`, if any.

    Raises:
        PackageError: The folder cannot; the message lists every missing file, link to the outside,
            syntax error, and import that the training image does not provide.
    """
    if not folder.is_dir():
        needed = f"{', '.join(REQUIRED[:-1])} and {REQUIRED[-1]}"
        raise PackageError(
            f"train.trainer: {folder} does not exist; give a .py file with `train`, or a folder "
            f"with {needed}"
        )
    problems = [f"{name} is missing" for name in REQUIRED if not (folder / name).is_file()]
    paths = [p for p in sorted(folder.rglob("*")) if not _is_ignored(p.relative_to(folder))]
    for path in paths:
        if path.is_symlink() and not _points_inside(path, folder):
            problems.append(f"{path.relative_to(folder)} points outside the folder")
    for path in paths:
        if path.suffix == ".py" and not path.is_symlink():
            problems += _import_problems(path, folder)
    if model and not problems and not _defines(folder / "model.py", "train"):
        problems.append("model.py has no `train`, which the trainer calls: def train(job)")
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        what = f"train.trainer: {model} cannot be model.py" if model else f"trainer folder {folder}"
        raise PackageError(
            f"{what}{' of' if model else ' cannot become'} a package:\n{listed}\n"
            f"a trainer keeps to itself, the standard library and what the image holds"
        )


def _is_ignored(path: Path) -> bool:
    return any(Path(part).match(pattern) for part in path.parts for pattern in IGNORED)


def _points_inside(path: Path, folder: Path) -> bool:
    """Whether a link ends in the folder; one that leads in a circle does not."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except RuntimeError:
        return False


def _defines(path: Path, name: str) -> bool:
    """Whether the top of a module defines, imports or assigns a name."""
    tree = ast.parse(path.read_bytes(), str(path))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.asname or alias.name for alias in node.names]
        else:  # an assignment, perhaps below an `if` or in a `try`
            inner = [*ast.walk(node)]
            names = [
                n.id for n in inner if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            ]
            names += [n.name for n in inner if isinstance(n, ast.FunctionDef)]
        if name in names or "*" in names:
            return True
    return False


def _import_problems(path: Path, folder: Path) -> list[str]:
    """Returns a sentence for each import of a file that the training image cannot satisfy."""
    where = path.relative_to(folder)
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:  # a NUL has no line
        return [f"{where}:{error.lineno or 1}: {error.msg}"]
    return [
        f"{where}:{line}: imports {module}, which {reason}"
        for line, module in _imports(tree)
        if (reason := _reason_against(module, folder))
    ]


def _imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields the absolute imports below a node, but not optional or typing-only ones."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((child.lineno, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            if child.level == 0 and child.module:
                yield child.lineno, child.module
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _imports(other)
        elif not (isinstance(child, ast.Try) and _allows_absence(child)):
            yield from _imports(child)


def _allows_absence(block: ast.Try) -> bool:
    caught = " ".join(ast.unparse(h.type) for h in block.handlers if h.type is not None)
    return "ImportError" in caught or "ModuleNotFoundError" in caught


def _reason_against(module: str, folder: Path) -> str:
    """Returns why a trainer must not import a module; empty if it may."""
    top, *rest = module.split(".")
    if top == PACKAGE:
        path = folder.joinpath(*rest)
        there = path.is_dir() or path.with_suffix(".py").is_file()
        return "" if there else "the folder does not hold"
    if top in sys.stdlib_module_names:
        return ""
    if top in _OURS:
        return "is outside the package: the trainer runs alone"
    return "" if _is_installed(top) else "the training image does not hold"


def _is_installed(top: str) -> bool:
    """Whether a module is installed, and not just a file beside this code or in the folder."""
    near = {str(_CODE), str(Path.cwd()), ""} - {p for p in sys.path if p.endswith("-packages")}
    path = [entry for entry in sys.path if entry not in near]
    return importlib.machinery.PathFinder.find_spec(top, path) is not None
