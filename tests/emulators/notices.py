"""A webhook, Pub/Sub's publish and Secret Manager's access, on one port of this machine.

Rules and their sources:
- publish: POST /v1/{topic}:publish, `messages` not empty, `data` in base64, attributes with texts
  for values; answers messageIds; 404 for a topic that does not exist
  (https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish and
  https://cloud.google.com/pubsub/docs/reference/rest/v1/PubsubMessage).
- access: GET /v1/{version}:access, answers name and payload.data in base64; 404 for a version that
  does not exist
  (https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Notices:
    """What a server of notices has, and what it got."""

    def __init__(self) -> None:
        self.host = ""
        self.requests: list[tuple[str, Any]] = []
        self.secrets: dict[str, str] = {}
        self.topics: set[str] = set()
        self.published: dict[str, list[dict[str, Any]]] = defaultdict(list)

    @property
    def url(self) -> str:
        """The address."""
        return f"http://{self.host}"

    def posts(self, path: str) -> list[Any]:
        """Returns the bodies that a path got."""
        return [body for where, body in self.requests if where == path]

    def publish(self, topic: str, body: Any) -> tuple[int, Any]:
        """Publishes messages."""
        if topic not in self.topics:
            return 404, {"error": {"code": 404, "message": f"Resource not found ({topic})."}}
        messages = body.get("messages") if isinstance(body, dict) else None
        if not messages or set(body) != {"messages"} or not all(map(_is_message, messages)):
            return 400, {"error": {"code": 400, "message": "invalid messages"}}
        self.published[topic] += messages
        return 200, {"messageIds": [str(n) for n, _ in enumerate(messages, 1)]}

    def access(self, version: str) -> tuple[int, Any]:
        """Reads the version of a secret."""
        if version not in self.secrets:
            return 404, {"error": {"code": 404, "message": f"Secret [{version}] not found."}}
        data = base64.b64encode(self.secrets[version].encode()).decode()
        return 200, {"name": version, "payload": {"data": data}}


def _is_message(message: Any) -> bool:
    if not set(message) <= {"data", "attributes", "orderingKey"}:
        return False
    try:
        base64.b64decode(message["data"], validate=True)
    except (KeyError, binascii.Error):
        return False
    return all(isinstance(value, str) for value in message.get("attributes", {}).values())


@contextlib.contextmanager
def notices_server() -> Iterator[Notices]:
    """Serves until the context ends; /500, /302 and /slow answer as their names say."""
    state = Notices()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.requests.append((self.path, body))
            status, answer = 200, {}
            if self.path.endswith(":publish"):
                status, answer = state.publish(self.path[4 : -len(":publish")], body)
            elif (path := self.path.partition("?")[0]) == "/slow":
                time.sleep(4)
            elif path in ("/500", "/302"):
                status = int(path[1:])
            self.answer(status, answer)

        def do_GET(self) -> None:
            state.requests.append((self.path, None))
            self.answer(*state.access(self.path[4:].removesuffix(":access")))

        def answer(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"{state.url}/elsewhere")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Stays silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.host = f"localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
