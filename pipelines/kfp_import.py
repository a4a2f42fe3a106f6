"""Imports kfp without its client of a Kubeflow server, which imports that of Kubernetes."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

_STEP = "_KFP_RUNTIME"
"""The variable by which kfp knows the process of a step, in which its package imports nothing."""


def import_kfp() -> None:
    """Imports `kfp` in a fifth of the time, unless it is imported already.

    `kfp.Client` is imported when it is used, so that a notebook has it too.
    """
    if "kfp" in sys.modules:
        return
    before = os.environ.get(_STEP)
    os.environ[_STEP] = "true"
    try:
        kfp = import_module("kfp")
    finally:
        del os.environ[_STEP]
        if before is not None:
            os.environ[_STEP] = before
    vars(kfp)["__getattr__"] = _imported_late


def _imported_late(name: str) -> Any:
    """Returns an attribute that `kfp` has otherwise (PEP 562)."""
    if name == "Client":
        return import_module("kfp.client").Client
    if name in ("client", "components", "dsl"):
        return import_module(f"kfp.{name}")
    raise AttributeError(f"module 'kfp' has no attribute {name!r}")
