"""Compiles the pipeline to the one file that runs here and on Vertex."""

from __future__ import annotations

from pathlib import Path

from components.image import IMAGE


def compile_pipeline(path: Path, image: str = IMAGE) -> Path:
    """Writes the compiled pipeline; the same code and image give the same bytes.

    Args:
        path: Where to; it must end in .yaml.
        image: What every component and training replica runs in.
    """
    from kfp import compiler

    from pipelines.training import make_pipeline

    path.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(make_pipeline(image), str(path))
    return path
