"""A small registry of container images, which has every image that is asked for.

Paths and documents are those of the OCI distribution and image specifications: a manifest or, for
several platforms, an index of manifests by name and digest; a blob with the image's configuration.
https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

HERE = {
    "org.opencontainers.image.version": metadata.version("quatrain"),
    "quatrain.beam": metadata.version("apache-beam"),
}


class Images:
    """The labels and platforms of images.

    Attributes:
        labels: The labels of an image, by its digest or tag; of any other, as built here for cpu.
        platforms: The platforms of an image; of any other, linux/amd64. Several make an index.
        status: What every request is answered with, unless 200.
    """

    def __init__(self) -> None:
        self.labels: dict[str, Mapping[str, str]] = {}
        self.platforms: dict[str, Sequence[str]] = {}
        self.status = 200
        self._blobs: dict[str, dict[str, Any]] = {}

    def build(self, reference: str, accelerator: str = "cpu", *platforms: str) -> None:
        """Puts an image there, as the Dockerfile builds it."""
        self.labels[reference] = {**HERE, "quatrain.accelerator": accelerator}
        self.platforms[reference] = platforms or ("linux/amd64",)

    def answer(self, verb: str, target: str) -> tuple[int, Any] | None:
        """Returns the HTTP code and JSON; None where the request belongs to another service."""
        match = re.fullmatch(r"/v2/[a-z0-9/._-]+/(manifests|blobs)/([\w.:-]+)", target)
        if verb != "GET" or not match:
            return None
        if self.status != 200:
            return self.status, {"errors": [{"code": "DENIED"}]}
        kind, reference = match.groups()
        if reference in self._blobs:
            return 200, self._blobs[reference]
        return (200, self._manifest(reference)) if kind == "manifests" else (404, {})

    def _manifest(self, reference: str) -> dict[str, Any]:
        if reference not in self.labels:
            self.build(reference)
        manifests = [
            {"digest": self._put(self._image(reference, platform)), "platform": _parts(platform)}
            for platform in self.platforms[reference]
        ]
        if len(manifests) == 1:
            return self._blobs[manifests[0]["digest"]]
        return {"schemaVersion": 2, "manifests": manifests}

    def _image(self, reference: str, platform: str) -> dict[str, Any]:
        config = {**_parts(platform), "config": {"Labels": self.labels[reference]}}
        return {"schemaVersion": 2, "config": {"digest": self._put(config)}, "layers": []}

    def _put(self, document: dict[str, Any]) -> str:
        digest = f"sha256:{hashlib.sha256(json.dumps(document).encode()).hexdigest()}"
        self._blobs[digest] = document
        return digest


def _parts(platform: str) -> dict[str, str]:
    return dict(zip(("os", "architecture"), platform.split("/"), strict=True))
