"""A small, strict stand-in for a repository of pipeline templates.

The protocol is that of kfp.registry.RegistryClient (kfp 2.17): a multipart POST to the repository
with a part `content` and comma-separated `tags`, answered by `PACKAGE/sha256:DIGEST`; a GET of
REPOSITORY/PACKAGE/VERSION or TAG. https://cloud.google.com/vertex-ai/docs/pipelines/create-pipeline-template
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml


class Registry:
    """The templates of one repository."""

    def __init__(self, path: str = "/my-project/templates") -> None:
        self.path = path
        self.files: dict[tuple[str, str], bytes] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.fault = 0

    def upload(self, content_type: str, body: bytes) -> tuple[int, bytes]:
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
        parts = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in message.iter_parts()
        }
        if set(parts) - {"content", "tags"} or "content" not in parts:
            return 400, b"expected a part named content, and tags"
        data = parts["content"]
        try:
            package = yaml.safe_load(data)["pipelineInfo"]["name"]
        except (yaml.YAMLError, KeyError, TypeError):
            return 400, b"the content is no pipeline"
        tags = [t for t in parts.get("tags", b"").decode().split(",") if t]
        if not all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,127}", t) for t in tags):
            return 400, b"a tag is malformed"
        version = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.files[package, version] = data
        self.tags.update({(package, tag): version for tag in tags})
        return 200, f"{package}/{version}".encode()

    def download(self, path: str) -> tuple[int, bytes]:
        package, _, version = path.removeprefix(f"{self.path}/").partition("/")
        version = self.tags.get((package, version), version)
        data = self.files.get((package, version))
        return (200, data) if data is not None else (404, b"not found")


@contextlib.contextmanager
def serving(registry: Registry) -> Iterator[str]:
    """Serves on loopback and yields the repository's address."""

    class Handler(BaseHTTPRequestHandler):
        wbufsize = 1 << 16

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            known = self.path.rstrip("/") == registry.path
            self.answer(
                *(registry.upload(self.headers["Content-Type"], body) if known else (404, b""))
            )

        def do_GET(self) -> None:
            self.answer(*registry.download(self.path))

        def answer(self, code: int, data: bytes) -> None:
            if registry.fault:
                code, data = registry.fault, b"a fault"
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{registry.path}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
