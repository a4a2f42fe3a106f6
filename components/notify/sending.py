"""Sends a notice to a webhook and to a topic of Pub/Sub; what is not sent is a sentence.

The address of a webhook is often a secret, so no message shows more of it than its host.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from quatrain.components.errors import QuatrainError
from quatrain.components.notify.bodies import body_for
from quatrain.components.notify.notice import Notice
from quatrain.components.wording import first_line

SECRET = re.compile(r"projects/[A-Za-z0-9._:-]+/secrets/[A-Za-z0-9_-]+/versions/(latest|[0-9]+)")
TOPIC = re.compile(r"projects/[A-Za-z0-9._:-]+/topics/[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
HERE = ("localhost", "127.0.0.1", "::1")
"""The hosts that http is allowed for."""
TIMEOUT_S, DEADLINE_S = 10.0, 30.0
"""The longest wait for a server's next byte, and for everything that a notice takes."""
PAUSES_S = (1.0, 3.0)
"""The waits before the second and the third attempt."""
TRANSIENT = (429, 502, 503, 504)
"""The answers that are worth another attempt."""
MAX_SECRET = 8 << 10
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class NoticeError(QuatrainError):
    """The address of a notice is wrong, or the notice cannot be sent."""


def check_webhook(address: str) -> None:
    """Checks the form of a webhook's address: https, or the version of a secret that holds one.

    Raises:
        NoticeError: It is neither; the message has no more of it than the host.
    """
    if SECRET.fullmatch(address):
        return
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and host in HERE)
    if not is_safe or not host or parts.username is not None or not address.isprintable():
        raise NoticeError(
            f"the webhook {shown(address)!r} cannot be used: write https://HOST/PATH without a "
            f"user (http for localhost alone), or a secret that holds it, as "
            f"projects/PROJECT/secrets/NAME/versions/latest"
        )


def check_topic(topic: str) -> None:
    """Checks the form of a topic.

    Raises:
        NoticeError: It has another one.
    """
    if not TOPIC.fullmatch(topic):
        raise NoticeError(
            f"the topic {topic!r} has another form; write projects/PROJECT/topics/NAME"
        )


def shown(address: str) -> str:
    """Returns what may be shown of an address: a secret's name, or scheme and host."""
    if SECRET.fullmatch(address):
        return address
    scheme, separator, rest = address.partition("://")
    host = re.split(r"[/?#]", rest.rpartition("@")[2])[0]
    return f"{scheme}://{host}/..." if separator else "..."


@dataclass(frozen=True)
class Delivery:
    """What became of a notice at one address.

    Attributes:
        kind: webhook or pubsub.
        sentence: What became of it; of the address it shows what may be shown.
        sent: Whether the other side took it.
    """

    kind: str
    sentence: str
    sent: bool = False


def send(notice: Notice, addresses: Mapping[str, str], deadline_s: float = DEADLINE_S) -> list[str]:
    """Sends a notice and returns a sentence for each address; it raises nothing and does not hang.

    Args:
        notice: The notice.
        addresses: `webhook` and `pubsub`, either of which may be absent.
        deadline_s: How long it may take in all.
    """
    return [each.sentence for each in deliver(notice, addresses, deadline_s)]


def deliver(
    notice: Notice, addresses: Mapping[str, str], deadline_s: float = DEADLINE_S
) -> Iterator[Delivery]:
    """Sends a notice to all addresses at once, and yields each delivery as soon as it is known.

    Args:
        notice: The notice.
        addresses: `webhook` and `pubsub`, either of which may be absent.
        deadline_s: How long it may take in all.
    """
    answers: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    deadline = time.monotonic() + deadline_s
    for kind, address in addresses.items():
        work = functools.partial(_attempt, kind, notice, address, answers.put)
        # A server that is slow, or a name that is not resolved, must not hold the process.
        threading.Thread(target=work, daemon=True).start()
    waiting = dict(addresses)
    while waiting:
        try:
            delivery = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        del waiting[delivery.kind]
        yield delivery
    for kind, address in waiting.items():
        yield _not_sent(kind, notice, address, f"no answer within {deadline_s:g} s")


def _attempt(kind: str, notice: Notice, address: str, put: Callable[[Delivery], None]) -> None:
    try:
        _SENDERS[kind](notice, address)
    except Exception as error:  # a notice never fails a run
        why = str(error) if isinstance(error, NoticeError) else type(error).__name__
        put(_not_sent(kind, notice, address, why))
    else:
        sentence = f"notify: {notice.event}: sent to {_shown(kind, address)}"
        put(Delivery(kind, sentence, sent=True))


def _not_sent(kind: str, notice: Notice, address: str, why: str) -> Delivery:
    return Delivery(kind, f"notify: {notice.event}: not sent to {_shown(kind, address)}: {why}")


def _shown(kind: str, address: str) -> str:
    return shown(address) if kind == "webhook" else address


def _to_webhook(notice: Notice, address: str) -> None:
    check_webhook(address)
    if SECRET.fullmatch(address):
        address = _secret(address)
        check_webhook(address)
    _post(address, body_for(notice, urlsplit(address).hostname or ""))


def _to_topic(notice: Notice, topic: str) -> None:
    """Publishes a notice (https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish)."""
    check_topic(topic)
    body = {"text": notice.text, "quatrain": notice.as_json()}
    data = base64.b64encode(json.dumps(body).encode()).decode()
    attributes = {"event": notice.event, "model": notice.model, "run": notice.run}
    message = {"data": data, "attributes": {k: v for k, v in attributes.items() if v}}
    # The variable is that of Google's own clients (https://cloud.google.com/pubsub/docs/emulator).
    host = os.environ.get("PUBSUB_EMULATOR_HOST")
    base = f"http://{host}" if host else "https://pubsub.googleapis.com"
    headers = {} if host else authorization()
    _post(f"{base}/v1/{topic}:publish", {"messages": [message]}, headers)


def _secret(version: str) -> str:
    """Returns what the version of a secret holds.

    https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
    """
    import requests

    host = os.environ.get("SECRET_MANAGER_EMULATOR_HOST")
    base = f"http://{host}" if host else "https://secretmanager.googleapis.com"
    headers = {} if host else authorization()
    try:
        answer = requests.get(
            f"{base}/v1/{version}:access", headers=headers, timeout=TIMEOUT_S, allow_redirects=False
        )
    except requests.RequestException as error:
        raise NoticeError(
            f"the secret {version} was not read ({type(error).__name__}); try again when "
            f"Secret Manager answers"
        ) from error
    if answer.status_code != 200:
        raise NoticeError(
            f"the secret {version} was refused with status {answer.status_code}; the run's "
            f"account needs roles/secretmanager.secretAccessor on the secret"
        )
    try:
        data = base64.b64decode(answer.json()["payload"]["data"], validate=True)
        return data[:MAX_SECRET].decode().strip()
    except (ValueError, KeyError, TypeError) as error:
        raise NoticeError(
            f"{version} holds no address; write https://HOST/PATH into a new version"
        ) from error


def authorization() -> dict[str, str]:
    """Returns the header that Google's services take, from this machine's credentials.

    Raises:
        NoticeError: There are none that work.
    """
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
        credentials.refresh(Request())
    except (GoogleAuthError, OSError) as error:
        raise NoticeError(
            f"no credentials for Google work ({first_line(error)}); log in again"
        ) from error
    return {"Authorization": f"Bearer {credentials.token}"}


def _post(url: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
    """Posts JSON; follows no redirect, and reads no body of an answer.

    Raises:
        NoticeError: The server did not take it.
    """
    import requests

    host, why = urlsplit(url).hostname, ""
    for pause_s in (*PAUSES_S, None):
        try:
            with requests.post(
                url,
                json=body,
                headers=headers,
                timeout=TIMEOUT_S,
                allow_redirects=False,
                stream=True,
            ) as answer:
                status = answer.status_code
        except requests.RequestException as error:
            why = f"{host} did not answer: {type(error).__name__}"
        else:
            if 200 <= status < 300:
                return
            why = f"{host} answered {status}"
            if 300 <= status < 400:
                why += ", a redirect, which is not followed"
            if status not in TRANSIENT:
                break
        if pause_s is not None:
            time.sleep(pause_s)
    raise NoticeError(why)


_SENDERS: Mapping[str, Callable[[Notice, str], None]] = {
    "webhook": _to_webhook,
    "pubsub": _to_topic,
}
"""What sends to each kind of address."""
