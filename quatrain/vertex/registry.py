"""The template registry: uploads the compiled pipeline, and fetches it by its digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quatrain.pipelines.compiled import Compiled
from quatrain.vertex.cloud_file import Cloud, CloudError, form_of
from quatrain.vertex.google_apis import user_project

TIMEOUT_S = 60.0
DIGEST = re.compile(r"(?:(?P<package>[a-z0-9][a-z0-9-]{0,127})/)?(?P<version>sha256:[0-9a-f]{64})")
TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True)
class Template:
    """A pipeline in the registry.

    Attributes:
        package: The template's name, which is the pipeline's.
        version: `sha256:` and the digest of the bytes.
        uri: The address by the digest, for a job: a tag could move.
    """

    package: str
    version: str
    uri: str


class Registry:
    """One repository of templates, by the protocol of kfp's own client (kfp 2.17).

    It replaces kfp's client, which has no timeout and shows a refusal as a traceback.

    Args:
        cloud: The settings that name the repository. With `api_endpoint`, access is anonymous.
    """

    def __init__(self, cloud: Cloud) -> None:
        if not cloud.registry:
            raise CloudError(
                "registry: missing in the cloud's settings; make one with `gcloud artifacts "
                f"repositories create templates --repository-format=kfp --location="
                f"{cloud.location} --project={cloud.project}` and write "
                f"registry: https://{cloud.location}-kfp.pkg.dev/{cloud.project}/templates"
            )
        form, example = form_of("registry", anonymous=bool(cloud.api_endpoint))
        if not re.fullmatch(form, cloud.registry):
            raise CloudError(f"registry: {cloud.registry!r} must have the form {example}")
        self._host, self._cloud = cloud.registry, cloud

    def upload(self, compiled: Compiled, tags: Sequence[str] = ()) -> Template:
        """Uploads a compiled pipeline, reads it back and returns its template.

        Raises:
            CloudError: The registry refused, or returns other bytes.
        """
        for tag in tags:
            if not TAG.fullmatch(tag):
                raise CloudError(
                    f"--tag {tag!r}: write lower-case letters, digits, dots, underscores, hyphens"
                )
        answer = self._request(
            "upload the template",
            "POST",
            self._host,
            data={"tags": ",".join(tags)} if tags else {},
            files={"content": (compiled.path.name, compiled.data)},
        )
        package, _, version = answer.decode().strip().partition("/")
        if not DIGEST.fullmatch(f"{package}/{version}"):
            raise CloudError(
                f"the registry must answer PACKAGE/sha256:DIGEST, and not {answer[:80].decode()!r}"
            )
        template = Template(package, version, f"{self._host}/{package}/{version}")
        if self.fetch(template) != compiled.data:
            raise CloudError(
                f"{template.uri} is not the file that was sent; upload it again, and do not run "
                "that one"
            )
        return template

    def find(self, digest: str, package: str) -> Template:
        """Returns the template with a digest.

        Args:
            digest: sha256:..., or PACKAGE/sha256:..., as `quatrain upload` printed it.
            package: The package, where the digest does not name it.

        Raises:
            CloudError: The text is not a digest, for example a tag.
        """
        match = DIGEST.fullmatch(digest)
        if not match:
            raise CloudError(
                f"--template {digest!r}: name it by the digest that `quatrain upload` printed, "
                f"sha256:..., as a tag can move between two runs"
            )
        name = match["package"] or package
        return Template(name, match["version"], f"{self._host}/{name}/{match['version']}")

    def fetch(self, template: Template) -> bytes:
        """Returns the bytes of a template."""
        return self._request(f"fetch template {template.version}", "GET", template.uri)

    def download(self, template: Template, path: Path) -> Path:
        """Writes a template to a file.

        Raises:
            CloudError: The template does not exist, or its bytes have another digest.
        """
        data = self.fetch(template)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if digest != template.version:
            raise CloudError(
                f"{template.uri} returns bytes with {digest}: the registry altered them or "
                f"computes digests otherwise; submit the file itself with --pipeline"
            )
        path.write_bytes(data)
        return path

    def _request(self, what: str, verb: str, url: str, **body: Any) -> bytes:
        """Sends a request, with refusals as sentences, and returns the body of the response."""
        from google.api_core import exceptions

        from quatrain.vertex.client import sentences

        with sentences(what, self._cloud, needs="roles/artifactregistry.writer"):
            headers = user_project(self._cloud)
            answer = self._session().request(verb, url, headers=headers, timeout=TIMEOUT_S, **body)
            if answer.status_code >= 400:
                raise exceptions.from_http_status(answer.status_code, answer.text[:200])
            return bytes(answer.content)

    def _session(self) -> Any:
        """Returns a session with Google's credentials, or without any in tests."""
        import google.auth
        import requests
        from google.auth.transport.requests import AuthorizedSession

        if self._cloud.api_endpoint:
            return requests.Session()
        credentials, _ = google.auth.default(scopes=[_SCOPE])
        return AuthorizedSession(credentials)
