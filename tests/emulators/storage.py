"""A small, strict Cloud Storage over HTTP: for gcsfuse, TensorFlow, pyarrow, Beam, Google's client.

It refuses what Google refuses; each rule has its source beside it. JSON below is short for
https://cloud.google.com/storage/docs/json_api/v1. Buckets are made by tests through `add_bucket`
only: a request that would create one is answered 403 and can be found in `requests`.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import itertools
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import google_crc32c

CHUNK_BYTES = 256 << 10
"""All chunks but the last are multiples of this: JSON/how-tos/resumable-upload."""
PAGE, MAX_PAGE = 1000, 5000
"""The items of a page of a listing by default, and at most; gcsfuse takes 5 000."""
REASONS = {
    400: "invalid",
    401: "required",
    403: "forbidden",
    404: "notFound",
    412: "conditionNotMet",
    416: "requestedRangeNotSatisfiable",
    429: "rateLimitExceeded",
    500: "internalError",
    503: "backendError",
}
"""The reason of an error by its status: JSON/status-codes."""


class Refused(Exception):
    """A request that Google would refuse with this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Bucket:
    """A bucket: its location, whether it may be read, and its objects."""

    name: str
    location: str
    location_type: str
    data_locations: tuple[str, ...] = ()
    forbidden: bool = False
    retention_s: int = 0
    is_held: bool = False
    objects: dict[str, Object] = field(default_factory=dict)

    def resource(self) -> dict[str, Any]:
        """JSON/buckets#resource: the location is upper case, the type lower case."""
        resource = {
            "kind": "storage#bucket",
            "id": self.name,
            "name": self.name,
            "location": self.location.upper(),
            "locationType": self.location_type,
            "storageClass": "STANDARD",
            "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
        }
        if self.data_locations:
            places = [place.upper() for place in self.data_locations]
            resource["customPlacementConfig"] = {"dataLocations": places}
        if self.retention_s:
            resource["retentionPolicy"] = {"retentionPeriod": str(self.retention_s)}
        if self.is_held:
            resource["defaultEventBasedHold"] = True
        return resource


@dataclass(frozen=True)
class Object:
    """One generation of an object."""

    bucket: str
    name: str
    data: bytes
    generation: int
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    metageneration: int = 1
    created: str = ""
    updated: str = ""

    def resource(self) -> dict[str, Any]:
        """JSON/objects#resource: numbers of 64 bits and sizes are text."""
        checksum = google_crc32c.value(self.data).to_bytes(4, "big")
        digest = hashlib.md5(self.data, usedforsecurity=False).digest()
        return {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{self.generation}",
            "name": self.name,
            "bucket": self.bucket,
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "contentType": self.content_type,
            "size": str(len(self.data)),
            "crc32c": base64.b64encode(checksum).decode(),
            "md5Hash": base64.b64encode(digest).decode(),
            "storageClass": "STANDARD",
            "timeCreated": self.created,
            "updated": self.updated,
            **({"metadata": dict(self.metadata)} if self.metadata else {}),
        }


@dataclass
class _Upload:
    """A resumable upload: the bytes so far, and the object that they will become."""

    bucket: str
    name: str
    query: dict[str, str]
    content_type: str
    metadata: Mapping[str, Any]
    data: bytearray = field(default_factory=bytearray)


_NO_RESOURCE: Mapping[str, Any] = {}


@dataclass
class _Fault:
    pattern: re.Pattern[str]
    status: int
    left: int
    skip: int


class Storage:
    """The state behind the server."""

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.requests: list[str] = []
        self.url = ""
        self.rewrite_bytes = 0  # the most that one call of objects.rewrite copies; 0 for all
        self._faults: list[_Fault] = []
        self._forbidden: list[re.Pattern[str]] = []
        self._losses: dict[str, Callable[[], None]] = {}
        self._watches: dict[str, Callable[[], None]] = {}
        self._uploads: dict[str, _Upload] = {}
        self._sessions = itertools.count()
        self._generation = itertools.count(1_700_000_000_000_001)
        self._lock = threading.RLock()

    def add_bucket(
        self,
        name: str,
        location: str = "europe-west1",
        location_type: str = "region",
        *data_locations: str,
        forbidden: bool = False,
    ) -> Bucket:
        """Creates a bucket, as an administrator would."""
        bucket = Bucket(name, location, location_type, data_locations, forbidden)
        self.buckets[name] = bucket
        return bucket

    def put(self, uri: str, data: bytes) -> Object:
        """Writes an object, without preconditions."""
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        return self._write(bucket, name, data, {}, "application/octet-stream")

    def get(self, uri: str) -> bytes:
        """Reads an object."""
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        return self.buckets[bucket].objects[name].data

    def has(self, uri: str) -> bool:
        """Whether an object is there."""
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        return name in self.buckets[bucket].objects

    def fail(self, pattern: str, status: int, times: int = 1, skip: int = 0) -> None:
        """Answers `times` requests that match "METHOD path" with a status, after `skip` of them."""
        self._faults.append(_Fault(re.compile(pattern), status, times, skip))

    @contextmanager
    def forbid(self, pattern: str) -> Iterator[None]:
        """Answers 403 to the requests that match "METHOD path", unquoted, or "PUT bucket/name"."""
        rule = re.compile(pattern)
        self._forbidden.append(rule)
        try:
            yield
        finally:
            self._forbidden.remove(rule)

    def lose(self, pattern: str, action: Callable[[], None]) -> None:
        """Calls `action`, once, in the place of the first write of an object that matches.

        The action kills the writer, say. The object does not appear, and the request is refused.
        """
        self._losses[pattern] = action

    def watch(self, pattern: str, action: Callable[[], None]) -> None:
        """Calls `action`, once, before the first matching request, or write of an object."""
        self._watches[pattern] = action

    def _call_watches(self, line: str) -> None:
        for pattern in [p for p in self._watches if re.search(p, line)]:
            self._watches.pop(pattern)()

    def check_fault(self, line: str) -> None:
        """Records a request, and raises the fault that a test has set for it."""
        with self._lock:
            self.requests.append(line)
            self._call_watches(unquote(line))
            self._check_allowed(unquote(line))
            for fault in self._faults:
                if not fault.left or not fault.pattern.search(line):
                    continue
                fault.skip -= 1
                if fault.skip < 0:
                    fault.left -= 1
                    raise Refused(fault.status, "ordered by the test")

    def _check_allowed(self, line: str) -> None:
        if any(rule.search(line) for rule in self._forbidden):
            raise Refused(403, "caller does not have access to the object.")

    def bucket(self, name: str) -> Bucket:
        """JSON/buckets/get: 404 when it does not exist, 403 without storage.buckets.get."""
        if name not in self.buckets:
            raise Refused(404, "The specified bucket does not exist.")
        if self.buckets[name].forbidden:
            raise Refused(403, "caller does not have storage.buckets.get access to the bucket.")
        return self.buckets[name]

    def object(self, bucket: str, name: str, query: dict[str, str]) -> Object:
        """JSON/objects/get, with the preconditions of a read."""
        item = self.bucket(bucket).objects.get(name)
        # Generation 0 is the live object, whichever that is.
        if item is None or query.get("generation", "0") not in ("0", str(item.generation)):
            raise Refused(404, f"No such object: {bucket}/{name}")
        _check_preconditions(item, query)
        return item

    def list_objects(self, bucket: str, query: dict[str, str]) -> dict[str, Any]:
        """JSON/objects/list: by name; prefixes count as items of a page.

        With includeTrailingDelimiter an object whose name is a prefix is an item beside it.
        """
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        items: dict[str, Object] = {}
        prefixes: set[str] = set()
        for name, item in list(self.bucket(bucket).objects.items()):
            if not name.startswith(prefix) or name < query.get("startOffset", ""):
                continue
            inside, cut, rest = name[len(prefix) :].partition(delimiter or "\0")
            if delimiter and cut:
                prefixes.add(prefix + inside + cut)
            trailing = query.get("includeTrailingDelimiter") == "true" and not rest
            if trailing or not (delimiter and cut):
                items[name] = item
        names = sorted(prefixes | items.keys())
        token = query.get("pageToken")
        if token and token not in names:
            raise Refused(400, "Invalid page token")
        rest_names = [name for name in names if name > (token or "")]
        size = min(int(query.get("maxResults", PAGE)), MAX_PAGE)
        page = rest_names[:size]
        answer: dict[str, Any] = {"kind": "storage#objects"}
        answer["items"] = [items[name].resource() for name in page if name in items]
        answer["prefixes"] = [name for name in page if name in prefixes]
        if len(rest_names) > size:
            answer["nextPageToken"] = page[-1]
        return answer

    def delete(self, bucket: str, name: str, query: dict[str, str]) -> None:
        """JSON/objects/delete."""
        with self._lock:
            self.object(bucket, name, query)
            del self.buckets[bucket].objects[name]

    def rewritten(self, source: Object, query: dict[str, str]) -> dict[str, Any]:
        """JSON/objects/rewrite: how far a copy is after a call, and the token of the next one."""
        size = len(source.data)
        so_far = min(size, int(query.get("rewriteToken", 0)) + (self.rewrite_bytes or size))
        progress = {"totalBytesRewritten": str(so_far), "objectSize": str(size)}
        if so_far < size:
            return {**progress, "done": False, "rewriteToken": str(so_far)}
        return {**progress, "done": True}

    def copy(self, source: Object, bucket: str, name: str, query: dict[str, str]) -> Object:
        """JSON/objects/copy, and the last call of JSON/objects/rewrite."""
        return self._write(
            bucket, name, source.data, query, source.content_type, {"metadata": source.metadata}
        )

    def move(self, bucket: str, source: str, target: str, query: dict[str, str]) -> Object:
        """JSON/objects/move: one object takes another name, at once."""
        with self._lock:
            moved = self.object(bucket, source, {})
            created = self.copy(moved, bucket, target, query)
            if source != target:
                del self.buckets[bucket].objects[source]
            return created

    def patch(self, bucket: str, name: str, query: dict[str, str], body: bytes) -> Object:
        """JSON/objects/patch: metadata alone; a value of null removes a key."""
        with self._lock:
            former = self.object(bucket, name, query)
            change = json.loads(body)
            metadata = {**former.metadata, **(change.get("metadata") or {})}
            changed = replace(
                former,
                metadata={key: value for key, value in metadata.items() if value is not None},
                content_type=change.get("contentType", former.content_type),
                metageneration=former.metageneration + 1,
                updated=_now(),
            )
            self.buckets[bucket].objects[name] = changed
            return changed

    def upload(self, bucket: str, query: dict[str, str], kind: str, body: bytes) -> Object:
        """JSON/objects/insert with uploadType media or multipart."""
        self.bucket(bucket)
        if query["uploadType"] == "media":
            return self._write(bucket, query["name"], body, query, kind)
        message = BytesParser(policy=HTTP).parsebytes(
            f"Content-Type: {kind}\r\n\r\n".encode() + body
        )
        parts = list(message.iter_parts())
        if len(parts) != 2:
            raise Refused(400, "a multipart upload has metadata and media")
        metadata = json.loads(parts[0].get_payload(decode=True))
        # The parser takes the payload apart at line ends of text types: cut the bytes instead.
        boundary = b"--" + message.get_boundary().encode()
        media = body.split(boundary)[2].split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
        name = metadata.get("name") or query["name"]
        return self._write(bucket, name, media, query, parts[1].get_content_type(), metadata)

    def start_upload(self, bucket: str, query: dict[str, str], kind: str, body: bytes) -> str:
        """JSON/how-tos/resumable-upload: returns the address for the chunks."""
        metadata = json.loads(body or b"{}")
        name = metadata.get("name") or query["name"]
        _check_preconditions(self.bucket(bucket).objects.get(name), query)
        key = f"session-{next(self._sessions)}"
        kind = metadata.get("contentType", kind)
        self._uploads[key] = _Upload(bucket, name, query, kind, metadata)
        return key

    def continue_upload(self, key: str, span: str, body: bytes) -> Object | int:
        """Receives a chunk; returns the object, or how many bytes there are so far."""
        if key not in self._uploads:
            raise Refused(404, "no such upload")
        upload = self._uploads[key]
        match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", span or f"bytes */{len(body)}")
        if not match:
            raise Refused(400, f"Content-Range {span!r}")
        start, total = int(match[1] or len(upload.data)), match[3]
        if start != len(upload.data):
            raise Refused(400, f"the chunk starts at {start}, not at {len(upload.data)}")
        last = total != "*" and start + len(body) == int(total)
        if not last and len(body) % CHUNK_BYTES:
            raise Refused(400, f"a chunk of {len(body)} bytes is no multiple of 256 KiB")
        upload.data += body
        if not last:
            return len(upload.data)
        del self._uploads[key]
        data = bytes(upload.data)
        where = (upload.bucket, upload.name)
        return self._write(*where, data, upload.query, upload.content_type, upload.metadata)

    def _write(
        self,
        bucket: str,
        name: str,
        data: bytes,
        query: dict[str, str],
        kind: str,
        resource: Mapping[str, Any] = _NO_RESOURCE,
    ) -> Object:
        with self._lock:
            objects = self.bucket(bucket).objects
            self._check_allowed(f"PUT {bucket}/{name}")
            _check_preconditions(objects.get(name), query)
            self._call_watches(f"write {bucket}/{name}")
            for pattern in [p for p in self._losses if re.search(p, f"{bucket}/{name}")]:
                self._losses.pop(pattern)()
                raise Refused(403, "lost by the test")
            # https://cloud.google.com/storage/docs/objects#naming
            if not name or len(name.encode()) > 1024 or re.search(r"[\r\n]", name):
                raise Refused(400, f"object name {name!r}")
            now = _now()
            metadata = dict(resource.get("metadata") or {})
            created = Object(
                bucket, name, data, next(self._generation), kind, metadata, 1, now, now
            )
            for key in ("crc32c", "md5Hash"):  # JSON/objects/insert: a wrong checksum is refused
                if key in resource and resource[key] != created.resource()[key]:
                    raise Refused(400, f"Provided {key} does not match the calculated one.")
            objects[name] = created
            return created


def _check_preconditions(item: Object | None, query: dict[str, str]) -> None:
    """https://cloud.google.com/storage/docs/request-preconditions; generation 0 means no object."""
    generation = item.generation if item else 0
    if "ifGenerationMatch" in query and int(query["ifGenerationMatch"]) != generation:
        raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
    if "ifGenerationNotMatch" in query and int(query["ifGenerationNotMatch"]) == generation:
        raise Refused(304, "")
    if item and query.get("ifMetagenerationMatch", str(item.metageneration)) != str(
        item.metageneration
    ):
        raise Refused(412, "At least one of the pre-conditions you specified did not hold.")


def _now() -> str:
    """Returns the time as RFC 3339 writes it, with milliseconds."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    return now.replace("+00:00", "Z")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is one packet, sent at once: else Nagle's algorithm and a delayed acknowledgement
    # cost a client 40 ms a call.
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    storage: Storage

    def handle_expect_100(self) -> bool:
        """Sends the 100 Continue before the client's body is waited for."""
        answered = super().handle_expect_100()
        self.wfile.flush()
        return answered

    def log_message(self, *_: Any) -> None:
        """Keeps the test's output clean."""

    def _serve(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        body = self._body()
        try:
            self.storage.check_fault(f"{self.command} {url.path}")
            self._route([unquote(part) for part in url.path.split("/")[1:]], query, body)
        except Refused as refused:
            status = refused.status
            entry = {"message": str(refused), "domain": "global", "reason": REASONS.get(status, "")}
            error = {"code": status, "message": str(refused), "errors": [entry]}
            self._answer(status, b"" if status == 304 else json.dumps({"error": error}).encode())

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _serve  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _route(self, parts: list[str], query: dict[str, str], body: bytes) -> None:
        match parts:
            case ["token"] | ["oauth2", "v3", "token"]:
                self._json({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
            case ["upload", "resumable", key]:
                self._chunk(key, body)
            case ["upload", "storage", "v1", "b", bucket, "o"]:
                self._upload(bucket, query, body)
            case ["storage", "v1", "b", *inner]:
                self._in_buckets(inner, query, body)
            case ["download", "storage", "v1", "b", *inner]:
                self._in_buckets(inner, query, body)
            case [bucket, *name] if name and bucket in self.storage.buckets:
                # https://cloud.google.com/storage/docs/xml-api/get-object-download
                self._media(self.storage.object(bucket, "/".join(name), query))
            case _:
                raise Refused(404, f"{self.command} {self.path} is not known here")

    def _in_buckets(self, parts: list[str], query: dict[str, str], body: bytes) -> None:
        match self.command, parts:
            case "POST", []:
                raise Refused(403, "nobody creates a bucket here")
            case "GET", [bucket]:
                self._json(self.storage.bucket(bucket).resource())
            case "GET", [bucket, "o"]:
                self._json(self.storage.list_objects(bucket, query))
            case "POST", [a, "o", b, "rewriteTo" | "copyTo" as how, "b", c, "o", d]:
                source = self.storage.object(a, b, {})
                progress = self.storage.rewritten(source, query)
                if how == "rewriteTo" and not progress["done"]:
                    self._json(progress)
                    return
                resource = self.storage.copy(source, c, d, query).resource()
                self._json({**progress, "resource": resource} if how == "rewriteTo" else resource)
            case "POST", [bucket, "o", source, "moveTo", "o", target]:
                self._json(self.storage.move(bucket, source, target, query).resource())
            case "PATCH", [bucket, "o", name]:
                self._json(self.storage.patch(bucket, name, query, body).resource())
            case _, [bucket, "o", name]:
                self._object(bucket, name, query)
            case _:
                raise Refused(404, f"{self.command} {self.path} is not known here")

    def _object(self, bucket: str, name: str, query: dict[str, str]) -> None:
        if self.command == "DELETE":
            self.storage.delete(bucket, name, query)
            self._answer(204, b"")
        elif query.get("alt") == "media":
            self._media(self.storage.object(bucket, name, query))
        else:
            self._json(self.storage.object(bucket, name, query).resource())

    def _media(self, item: Object) -> None:
        """https://cloud.google.com/storage/docs/xml-api/reference-headers#range."""
        span = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        size, resource = len(item.data), item.resource()
        checks = {"x-goog-generation": str(item.generation), "Content-Type": item.content_type}
        if not span:
            checks["x-goog-hash"] = f"crc32c={resource['crc32c']},md5={resource['md5Hash']}"
            self._answer(200, item.data, checks)
            return
        start = int(span[1]) if span[1] else max(0, size - int(span[2]))
        stop = min(int(span[2]) + 1, size) if span[1] and span[2] else size
        if start >= size:
            raise Refused(416, "The requested range cannot be satisfied.")
        checks["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self._answer(206, item.data[start:stop], checks)

    def _upload(self, bucket: str, query: dict[str, str], body: bytes) -> None:
        kind = self.headers.get("Content-Type", "application/octet-stream")
        if query.get("uploadType") == "resumable":
            kind = self.headers.get("X-Upload-Content-Type", "application/octet-stream")
            key = self.storage.start_upload(bucket, query, kind, body)
            where = f"{self.storage.url}/upload/resumable/{quote(key)}"
            self._answer(200, b"", {"Location": where})
            return
        self._json(self.storage.upload(bucket, query, kind, body).resource())

    def _chunk(self, key: str, body: bytes) -> None:
        completed = self.storage.continue_upload(key, self.headers.get("Content-Range", ""), body)
        if isinstance(completed, Object):
            self._json(completed.resource())
            return
        headers = {"Range": f"bytes=0-{completed - 1}"} if completed else {}
        if self.headers.get("X-GUploader-No-308"):  # Go's client: redirects are the transport's
            self._answer(200, b"", {**headers, "X-Http-Status-Code-Override": "308"})
        else:
            self._answer(308, b"", headers)

    def _json(self, value: Any) -> None:
        kind = {"Content-Type": "application/json; charset=UTF-8"}
        self._answer(200, json.dumps(value).encode(), kind)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def write_credentials(path: Path, url: str) -> Path:
    """Writes the key file of a service account whose tokens come from this server.

    Without credentials Beam looks for a metadata server, for some 20 s a process.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k",
        "private_key": key.decode(),
        "client_email": "trainer@p.iam.gserviceaccount.com",
        "token_uri": f"{url}/token",
    }
    path.write_text(json.dumps(account))
    return path


@contextmanager
def serving() -> Iterator[Storage]:
    """Serves an empty storage on loopback; set STORAGE_EMULATOR_HOST to its `url`."""
    storage = Storage()
    with listening(storage) as port:
        storage.url = f"http://127.0.0.1:{port}"
        yield storage


@contextmanager
def listening(storage: Storage, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serves a storage on a port of loopback, which it yields; over TLS if there is a context."""
    handler = type("Handler", (_Handler,), {"storage": storage})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls:  # the handshake is the connection's own thread's: nobody else waits for it
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
