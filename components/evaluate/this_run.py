"""What names a run: its id, its time, its code and its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata as distributions
from typing import Any

from quatrain.components.specification.schema import ModelSpec


@dataclass(frozen=True)
class ThisRun:
    """A run, as its pipeline knows it; whatever is empty or 0 is not known.

    Attributes:
        id: The name of the run.
        created: When it was created, as an ISO time.
        pipeline: The sha256 of the compiled file.
        files: The number of files of the source.
        digest: The digest of these files and their versions.
        image: The image of its steps; empty on this machine, which runs none.
        train_image: The image of its training.
    """

    id: str = ""
    created: str = ""
    pipeline: str = ""
    files: int = 0
    digest: str = ""
    image: str = ""
    train_image: str = ""

    def as_json(
        self, spec: ModelSpec, manifest: Mapping[str, Any], model: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Returns the run as metrics.json describes it.

        Args:
            spec: The spec.
            manifest: manifest.json of the examples.
            model: metadata.json of the model.
        """
        window = manifest.get("window")
        days = f"{window['first']} to {window['last']}" if window else ""
        return {
            "id": self.id,
            "created": self.created,
            "code": {
                "quatrain": distributions.version("quatrain"),
                "trainer": model["package_sha256"],
                "pipeline": self.pipeline,
                **model["versions"],
                **{name: distributions.version(name) for name in ("apache-beam", "kfp", "pyarrow")},
            },
            "data": {
                "uri": list(spec.source.uri),
                "files": self.files,
                "digest": self.digest,
                "days": days,
            },
            "rows": manifest["rows"],
        }
