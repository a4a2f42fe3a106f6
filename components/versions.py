"""The models that were promoted: a copy of each, with its proof, in `<root>/<name>/versions/`.

A run leaves its model among its artifacts, which a rule of the bucket or a person may delete by
their age. The copy lies beside the records of the model, outlives the run, and is whatever reads
the champion reads. It is complete or absent: `version.json`, written last, makes it count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from quatrain.components.artifacts import json_bytes
from quatrain.components.copying import copy_file, show_folders
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import Folder
from quatrain.components.storage import exists, list_names, read_file, remove_file
from quatrain.trainer.failure import Failure
from quatrain.trainer.uris import name_outside

VERSION = 1
VERSIONS = "versions"
"""The folder of the copies, beside the runs of a model and its statistics."""
MANIFEST = "version.json"
"""What makes a copy count: the champion's record of its run, and the sha256 of each file."""
METADATA = "model/metadata.json"
"""What lists the files of a model with their digests."""
PROOF = ("metrics.json", "lineage.json", "report.html")
"""What shows why a model was promoted."""
RECORD = ("run", "made", "model", "metadata", "split", "window", "statistics")
"""What the record of a champion has of its run."""
_FIELDS = {
    **dict.fromkeys(("run", "made", "model", "metadata"), str),
    **dict.fromkeys(("split", "statistics", "files"), dict),
}


def place_of(root: str, name: str, run: str) -> str:
    """Returns the folder of a run's version, by its path or uri."""
    return f"{root.rstrip('/')}/{name}/{VERSIONS}/{run}"


def model_of(root: str, name: str, record: Mapping[str, Any]) -> str:
    """Returns the artifact that holds the model of a champion's record, in its folder `model`.

    That is its version, wherever the folder of all runs lies now. The record of an earlier version
    of Quatrain names the artifact of the run.

    Args:
        root: The folder of all runs, local or gs://.
        name: The name of the model.
        record: The record, with `run` and `model`.
    """
    model = str(record.get("model") or "")
    return place_of(root, name, str(record["run"])) if is_version(name, record) else model


def is_version(name: str, record: Mapping[str, Any]) -> bool:
    """Returns whether a champion's record names a version, not the artifact of the run."""
    return str(record.get("model") or "").endswith(f"/{name}/{VERSIONS}/{record['run']}")


def read_version(root: str, name: str, run: str) -> dict[str, Any] | None:
    """Returns the manifest of a run's version; None if it has none, or not a complete one.

    Raises:
        ArtifactError: The manifest cannot be read, or is damaged.
    """
    uri = f"{place_of(root, name, run)}/{MANIFEST}"
    try:
        document = json.loads(read_file(uri))
        wrong = [k for k, t in _FIELDS.items() if not isinstance(document.get(k), t)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is absent")
        if document["run"] != run:
            raise ValueError(f"it is of run {document['run']!r}")
        if fault := _fault_of(document["files"]):
            raise ValueError(fault)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(str(Failure.of(error))) from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise ArtifactError(
            f"{uri} is damaged ({error}); remove it, so that the model is copied again"
        ) from error
    return dict(document)


def require_version(root: str, name: str, run: str) -> None:
    """Checks that a version is complete, just before the champion's record names it.

    Raises:
        ArtifactError: It is not, since someone has deleted it meanwhile.
    """
    if not exists(uri := f"{place_of(root, name, run)}/{MANIFEST}"):
        raise ArtifactError(f"{uri} was deleted before run {run} was promoted; try again")


def keep_version(root: str, name: str, record: Mapping[str, Any], evaluation: str) -> str:
    """Copies the model of a run and its proof, unless that is done, and returns the copy's folder.

    Args:
        root: The folder of all runs, local or gs://.
        name: The name of the model.
        record: The record of the run, with the keys of `RECORD`.
        evaluation: The artifact of its evaluate step.

    Raises:
        ArtifactError: The model is gone or was altered, or may not be read or copied.
    """
    run, model, digest = (str(record[key]) for key in ("run", "model", "metadata"))
    place = place_of(root, name, run)
    version = read_version(root, name, run)
    if version and version["metadata"] == digest:
        return place
    in_model = files_of(model, read_metadata(model, run, digest))
    files = {f"model/{file}": sha256 for file, sha256 in in_model.items()} | {METADATA: digest}
    folder = Folder(place)
    try:
        proof = _read_proof(evaluation)
        if version:  # of another run of this name
            remove_file(folder.path(MANIFEST))
        _remove_others(place, [*files, *proof])
        for file, sha256 in files.items():
            copy_file(f"{model}/{file}", folder.path(file), sha256)
        for file, data in proof.items():
            kind = "text/html; charset=utf-8" if file.endswith(".html") else ""
            files[file] = folder.write(file, data, kind)
        show_folders(_folders(f"{root.rstrip('/')}/{name}", VERSIONS, run, *files))
        document = {"version": VERSION, **{key: record[key] for key in RECORD}}
        folder.write(MANIFEST, json_bytes({**document, "evaluation": evaluation, "files": files}))
    except OSError as error:
        raise ArtifactError(
            f"the model of run {run} cannot be copied to {place}: {Failure.of(error)}"
        ) from error
    return place


def read_metadata(model: str, run: str, sha256: str) -> bytes:
    """Returns the metadata.json of a run's model, once its digest is checked.

    Args:
        model: The artifact that holds the model, or its version.
        run: The run.
        sha256: The digest of the metadata.json that was measured.

    Raises:
        ArtifactError: It is gone, cannot be read, or is another one.
    """
    uri = f"{model}/{METADATA}"
    try:
        data = read_file(uri)
    except FileNotFoundError as error:
        raise ArtifactError(
            f"the model of run {run} is not at {model} any more; name another run, which has kept "
            f"its artifacts"
        ) from error
    except OSError as error:
        raise ArtifactError(str(Failure.of(error))) from error
    if (digest := hashlib.sha256(data).hexdigest()) != sha256:
        raise ArtifactError(
            f"{uri} is not the one that was measured: its sha256 is {digest[:12]}..., metrics.json "
            f"says {sha256[:12]}...; name another run, whose model was not altered"
        )
    return data


def files_of(model: str, metadata: bytes) -> dict[str, str]:
    """Returns the sha256 of each file of a model, by its name, as its metadata has them.

    Args:
        model: The artifact that holds the model.
        metadata: Its metadata.json.

    Raises:
        ArtifactError: It has none, or names a file outside of the model.
    """
    try:
        files = dict(json.loads(metadata)["files"])
        if fault := _fault_of(files):
            raise ValueError(fault)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(
            f"{model}/{METADATA} has no digests of the model's files ({error}); start another run"
        ) from error
    return files


def _fault_of(files: Mapping[str, Any]) -> str:
    """Returns what is wrong with files as a document lists them; empty if nothing is.

    Each name must stay inside the document's folder, and have a digest.
    """
    if outside := name_outside(files):
        return f"it names {outside!r}, outside of its folder"
    without = (name for name, sha256 in files.items() if not isinstance(sha256, str))
    return next((f"{name!r} has no digest" for name in without), "")


def _read_proof(evaluation: str) -> dict[str, bytes]:
    """Returns the files that show why a model was promoted.

    Only the metrics are needed. A run of an earlier version of Quatrain has no lineage.json.
    """
    proof = {file: Folder(evaluation).read(file) for file in PROOF}
    if proof[PROOF[0]] is None:
        raise ArtifactError(f"{evaluation}/{PROOF[0]} is gone; name another run, which has it")
    return {file: data for file, data in proof.items() if data is not None}


def _remove_others(place: str, files: Collection[str]) -> None:
    """Removes what is in a version's folder beside its files, as a copy that was cut off leaves it.

    The files stay: another process may be writing the same ones, or they are the model itself,
    where only the manifest was lost.
    """
    stay = {*files, MANIFEST, *(str(p) for file in files for p in PurePosixPath(file).parents)}
    for name in list_names(place):
        if name.rstrip("/") not in stay:
            remove_file(f"{place}/{name}")


def _folders(above: str, versions: str, run: str, *files: str) -> list[str]:
    """Returns the folders of a version's files and those that it is in, the outermost first."""
    place = f"{above}/{versions}/{run}"
    parents = {f"{place}/{p}" for file in files for p in PurePosixPath(file).parents if p.name}
    return [above, f"{above}/{versions}", place, *sorted(parents)]
