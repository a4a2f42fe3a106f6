"""Google's own host names on loopback, for clients that take no other address.

The clients' environment names a proxy, which tunnels every CONNECT to one server. That server's
certificate for the requested name is signed by an authority of the test's own.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from tests.emulators import vertex as emulation
from tests.emulators.serving import Serving
from tests.emulators.storage import Storage, listening
from tests.emulators.vertex import Vertex

STORAGE_HOSTS = ("storage.googleapis.com", "www.googleapis.com", "oauth2.googleapis.com")
SERVICE = "google.cloud.aiplatform.v1.JobService"
_CODES = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


def make_certificate(host: str, *others: str) -> tuple[bytes, bytes]:
    """Returns a self-signed certificate of hosts, which is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    names = x509.SubjectAlternativeName([x509.DNSName(each) for each in (host, *others)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - hour)
        .not_valid_after(now + hour)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@contextlib.contextmanager
def serving(vertex: Vertex, host: str, folder: Path) -> Iterator[dict[str, str]]:
    """Serves the custom jobs of `vertex` as `host`; yields the environment that leads there."""
    certificate, key = make_certificate(host)
    roots = folder / "roots.pem"
    roots.write_bytes(certificate)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    handlers = {
        "CreateCustomJob": _method(_create(vertex), aiplatform_v1.CreateCustomJobRequest),
        "GetCustomJob": _method(_get(vertex), aiplatform_v1.GetCustomJobRequest),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        with _proxy(port) as proxy:
            yield {
                "https_proxy": proxy,
                "no_proxy": "127.0.0.1,localhost",
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(roots),
            }
    finally:
        server.stop(None)


@contextlib.contextmanager
def serving_storage(state: Storage, folder: Path) -> Iterator[dict[str, str]]:
    """Serves a storage under Google's names; yields the environment that leads TensorFlow there.

    TensorFlow's gs:// has a fixed address: a proxy and an authority of its own lead it here
    (tensorflow/core/platform/cloud/curl_http_request.cc reads CURL_CA_BUNDLE, and libcurl the
    others). NO_GCE_CHECK keeps it from asking a metadata server.
    """
    context, roots = _context(STORAGE_HOSTS, folder, "storage")
    with listening(state, context) as port, _proxy(port) as proxy:
        yield {
            "https_proxy": proxy,
            "no_proxy": "127.0.0.1,localhost",
            "CURL_CA_BUNDLE": str(roots),
            "NO_GCE_CHECK": "true",
        }


@contextlib.contextmanager
def serving_rest(vertex: Vertex, location: str, folder: Path, proxy: str) -> Iterator[dict]:
    """Serves Vertex AI by REST, and metrics, under Google's names; yields the environment for that.

    Other hosts are left to `proxy`. requests reads https_proxy and REQUESTS_CA_BUNDLE.
    """
    hosts = (f"{location}-aiplatform.googleapis.com", "monitoring.googleapis.com")
    context, roots = _context(hosts, folder, "rest")
    metrics = vertex.monitoring if isinstance(vertex, Serving) else lambda verb, target: None
    with emulation.serving(vertex, other=metrics, tls=context) as address:
        port = int(address.rpartition(":")[2])
        with _proxy(port, hosts, int(proxy.rpartition(":")[2])) as own:
            yield {"https_proxy": own, "REQUESTS_CA_BUNDLE": str(roots)}


def _context(hosts: Sequence[str], folder: Path, stem: str) -> tuple[ssl.SSLContext, Path]:
    """Returns what a server of these hosts needs, and the file that its clients trust."""
    certificate, key = make_certificate(*hosts)
    roots, chain = folder / f"{stem}-roots.pem", folder / f"{stem}.pem"
    roots.write_bytes(certificate)
    chain.write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context, roots


def _create(vertex: Vertex) -> Callable[[Any], tuple[str, str, bytes]]:
    def ask(request: Any) -> tuple[str, str, bytes]:
        job = json_format.MessageToJson(aiplatform_v1.CustomJob.pb(request.custom_job))
        return "POST", f"/v1/{request.parent}/customJobs", job.encode()

    return lambda request: _answer(vertex, *ask(request))


def _get(vertex: Vertex) -> Callable[[Any], Any]:
    return lambda request: _answer(vertex, "GET", f"/v1/{request.name}", b"")


def _answer(vertex: Vertex, verb: str, path: str, body: bytes) -> Any:
    code, reply = vertex.answer(verb, path, body)
    if code != 200:
        raise LookupError(code, reply["error"]["message"])
    return aiplatform_v1.CustomJob.from_json(json.dumps(reply))


def _method(answer: Callable[[Any], Any], request: Any) -> grpc.RpcMethodHandler:
    def call(message: Any, context: grpc.ServicerContext) -> Any:
        try:
            return answer(message)
        except LookupError as error:
            code, message = error.args
            context.abort(grpc.StatusCode[_CODES.get(code, "INTERNAL")], message)

    return grpc.unary_unary_rpc_method_handler(
        call,
        request_deserializer=request.deserialize,
        response_serializer=aiplatform_v1.CustomJob.serialize,
    )


@contextlib.contextmanager
def _proxy(port: int, hosts: Sequence[str] = (), other: int = 0) -> Iterator[str]:
    """Yields the address of a proxy that tunnels requests to one port of loopback.

    If there are `hosts`, only theirs; the others go to the proxy on the port `other`.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=tunnel, args=(client,), daemon=True).start()

    def tunnel(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        assert head.startswith(b"CONNECT "), head
        host = head.split()[1].decode().partition(":")[0]
        is_other = bool(hosts) and host not in hosts
        try:
            server = socket.create_connection(("127.0.0.1", other if is_other else port))
        except ConnectionRefusedError:  # a client that retries after its test has ended
            client.close()
            return
        if is_other:
            server.sendall(head)  # which answers it
        else:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=pump, args=(client, server), daemon=True).start()
        pump(server, client)

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
