"""The body of a notice for each chat service, whose markup nothing in the notice can use.

A name or a reason may hold `<`, `&` or `*`, which would be a mention, an entity or bold type.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from quatrain.components.notify.notice import Notice

MAX_DISCORD = 2000
"""The most characters of `content`
(https://discord.com/developers/docs/resources/webhook#execute-webhook)."""
_DISCORD_MARKUP = re.compile(r"([\\*_~`|>#\[\]()<@:-])")
_CARD_TYPE = "application/vnd.microsoft.card.adaptive"


def body_for(notice: Notice, host: str) -> dict[str, Any]:
    """Returns the body that a host takes: for people at a chat service, with fields elsewhere."""
    for suffix, body in _SERVICES.items():
        if host == suffix.removeprefix(".") or (suffix[0] == "." and host.endswith(suffix)):
            return body(notice.text)
    return {"text": notice.text, "quatrain": notice.as_json()}


def _slack(text: str) -> dict[str, Any]:
    """Returns a message of Slack, whose text has three characters to escape.

    https://api.slack.com/docs/message-formatting: "There are three characters you must convert to
    HTML entities and only three: &, <, and >". `mrkdwn: false` leaves `*` and `_` as they are
    (https://docs.slack.dev/tools/node-slack-sdk/reference/web-api/type-aliases/ChatPostMessageArguments).
    """
    return {"text": html.escape(text, quote=False), "mrkdwn": False}


def _google_chat(text: str) -> dict[str, Any]:
    """Returns a card of Google Chat, whose text is a subset of HTML and no Markdown.

    A message's `text` has no escape for `*`, `_` or `<users/all>`; a card's has that of HTML
    (https://developers.google.com/workspace/chat/format-messages). A field that Chat does not know
    is refused.
    """
    lines = html.escape(text, quote=False).replace("\n", "<br>")
    widget = {"textParagraph": {"text": lines}}
    return {"cardsV2": [{"cardId": "quatrain", "card": {"sections": [{"widgets": [widget]}]}}]}


def _teams(text: str) -> dict[str, Any]:
    """Returns a card for a workflow of Teams, each line a run of text, which has no Markdown.

    https://learn.microsoft.com/adaptive-cards/schema-explorer/text-run: "Markdown is not
    supported"; the frame is that of
    https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using.
    """
    runs = [{"type": "TextRun", "text": line} for line in text.splitlines() if line]
    blocks = [{"type": "RichTextBlock", "inlines": [run]} for run in runs]
    card = {"type": "AdaptiveCard", "version": "1.4", "body": blocks}
    return {"type": "message", "attachments": [{"contentType": _CARD_TYPE, "content": card}]}


def _discord(text: str) -> dict[str, Any]:
    r"""Returns a message of Discord, where a backslash escapes Markdown and nobody is mentioned.

    https://discord.com/developers/docs/resources/message#allowed-mentions-object: an empty `parse`
    suppresses all mentions.
    """
    content = _DISCORD_MARKUP.sub(r"\\\1", text)
    if len(content) > MAX_DISCORD:
        content = f"{content[: MAX_DISCORD - 4].rstrip(chr(92))} ..."
    return {"content": content, "allowed_mentions": {"parse": []}}


_SERVICES: Mapping[str, Any] = {
    "hooks.slack.com": _slack,
    "chat.googleapis.com": _google_chat,
    ".logic.azure.com": _teams,
    ".powerplatform.com": _teams,
    "discord.com": _discord,
    "discordapp.com": _discord,
}
"""What makes the body for each host; one that begins with a dot stands for all below it."""
