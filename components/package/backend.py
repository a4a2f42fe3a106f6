"""Runs the build backend of a package, without an index, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from quatrain.components.errors import PackageError
from quatrain.components.package.child import run_python


def build(kind: Literal["sdist", "wheel"], source: Path, out: Path, env: Mapping[str, str]) -> Path:
    """Builds a distribution of a source folder as `python -m build --no-isolation` does.

    That command would start one process more, which asks the backend what it needs beside
    `requires`.

    Args:
        kind: What to build.
        source: The folder with pyproject.toml.
        out: The folder of the result.
        env: The whole environment of the backend.

    Raises:
        PackageError: The backend fails, or needs what is not installed.
    """
    from build import BuildBackendException, BuildException, ProjectBuilder, check_dependency

    def run_hook(
        cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None
    ) -> None:
        run_python(*cmd[1:], cwd=Path(cwd or "."), env={**env, **(extra_environ or {})})

    try:
        builder = ProjectBuilder(source, runner=run_hook)
        needed = [d for need in builder.build_system_requires for d in check_dependency(need)]
        if needed:
            names = ", ".join(sorted(dependency[-1] for dependency in needed))
            raise PackageError(f"its build needs {names}, which the image does not hold")
        return Path(builder.build(kind, out))
    except (BuildException, BuildBackendException) as error:
        cause = error.exception if isinstance(error, BuildBackendException) else error
        raise PackageError(str(cause)) from error
