"""Compiles the pipeline to the one file that runs here and on Vertex."""

from __future__ import annotations

from pathlib import Path

from components.image import IMAGE


def compile_pipeline(path: Path, image: str = IMAGE, retries: int = 0) -> Path:
    """Writes the compiled pipeline; the same code, image and retries give the same bytes.

    Args:
        path: Where to; it must end in .yaml.
        image: What every component and training replica runs in.
        retries: How often a component is tried again.
    """
    from kfp import compiler

    from pipelines.training import make_pipeline

    path.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(make_pipeline(image, retries), str(path))
    return path
