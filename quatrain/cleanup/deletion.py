"""Deletes what a plan lets go, once the records still let it.

A model may be promoted between the plan and the deletion. Whoever promotes one writes a move, then
looks for the version's manifest, then replaces the champion's record. Here the manifest goes first,
then the moves and the champion are read again: whichever was first, one of the two sees the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from quatrain.cleanup.files import delete_file, delete_folder, is_linked
from quatrain.cleanup.plan import RECORD, RUN, VERSION, Item, Limits
from quatrain.cleanup.protection import protection_of
from quatrain.components import history
from quatrain.components.errors import ArtifactError
from quatrain.components.storage import read_file, write_file
from quatrain.components.versions import MANIFEST, read_version
from quatrain.trainer.failure import Failure


def delete(root: str, items: list[Item], limits: Limits) -> Iterator[Item]:
    """Deletes what may go, and yields each such item: with why it stays after all, if it does.

    Args:
        root: The folder of all runs.
        items: A plan.
        limits: Those of the plan.

    Raises:
        ArtifactError: A record cannot be read, or a file cannot be deleted.
    """
    for item in items:
        if item.why:
            continue
        try:
            if item.kind == RECORD:
                delete_file(item.place)
                yield item
            else:
                yield replace(item, why=_delete(root, item, limits))
        except OSError as error:
            raise ArtifactError(str(Failure.of(error))) from error


def _delete(root: str, item: Item, limits: Limits) -> str:
    """Deletes a run or a version; returns why it stays, if the records name it by now."""
    if is_linked(root, item.place):
        return "a link leads to it by now"
    if why := _why_named(root, item, limits):
        return why
    if item.kind == RUN:
        if item.examples:  # the cache of Vertex AI may name them: the next run makes its own
            history.record_loss(root, item.name, item.examples)
        delete_folder(item.place)
        return ""
    manifest = f"{item.place}/{MANIFEST}"
    try:
        data = read_file(manifest)
    except FileNotFoundError:
        data = b""
    delete_file(manifest)
    why = "the records could not be read again"
    try:
        why = _why_named(root, item, limits)
    finally:
        if why and data:
            write_file(manifest, data)
    if not why:
        delete_folder(item.place)
    return why


def _why_named(root: str, item: Item, limits: Limits) -> str:
    """Returns why an item stays by the records as of now."""
    protection = protection_of(root, item.name, limits.keep_versions)
    if item.kind == VERSION:
        return protection.versions.get(item.id, "")
    if item.id in protection.versions and read_version(root, item.name, item.id) is None:
        return protection.versions[item.id]
    return protection.runs.get(item.id, "")
