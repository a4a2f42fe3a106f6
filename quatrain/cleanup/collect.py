"""Opens a root, plans what may go, and deletes it if asked to."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from quatrain.cleanup.deletion import delete
from quatrain.cleanup.plan import Item, Limits, plan
from quatrain.components.release.service import Service
from quatrain.components.storage import unmounted
from quatrain.components.wording import near
from quatrain.results.listing import RunsNotFound, list_models, open_root
from quatrain.vertex.cloud_file import load_cloud
from quatrain.vertex.releases import service_of


def collect(
    name: str,
    limits: Limits,
    *,
    root: str | os.PathLike[str] = "",
    cloud: str | os.PathLike[str] = "",
    applies: bool = False,
) -> list[Item]:
    """Returns what may go, and why each other item stays; deletes the former if it is to apply.

    Args:
        name: The model; if empty, all models.
        limits: What is kept.
        root: The folder of all runs, a path or a gs:// uri; if empty, that of the cloud settings,
            or `runs`.
        cloud: A file of cloud settings, whose endpoints are asked what they serve.
        applies: Whether what may go is deleted.

    Returns:
        All items. After a deletion, one that was promoted meanwhile says why it stays.

    Raises:
        QuatrainError: The root or the service cannot be read, or a file cannot be deleted.
    """
    where = open_root(os.fspath(root), os.fspath(cloud))
    names = list_models(replace(where, vertex=None))
    if name and name not in names:
        raise RunsNotFound(f"{where.uri} has no model {name!r}{near(name, names)}")
    if cloud:
        service = service_of(load_cloud(os.fspath(cloud), allow_tag=True))
        limits = replace(limits, served=deployed_names(service))
    of_all = unmounted(str(Path(where.uri).resolve()) if where.is_here else where.uri)
    items = plan(of_all, [name] if name else names, limits)
    if not applies:
        return items
    stayed = {item.place: item for item in delete(of_all, items, limits)}
    return [stayed.get(item.place, item) for item in items]


def deployed_names(service: Service) -> frozenset[str]:
    """Returns the display names of the models that the endpoints of a region have deployed."""
    endpoints = service.pages("endpoints", "endpoints", "list the endpoints")
    return frozenset(
        str(deployed.get("displayName", ""))
        for endpoint in endpoints
        for deployed in endpoint.get("deployedModels", ())
    )
