"""Structured log lines: one for each event, `name key=value …`; no value can break the line (ASVS 16.4.1)."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import sys
import time

from gqlauth import events

logger = logging.getLogger("gqlauth")

NEXT_WORD = re.compile(r"(?<!^)(?=[A-Z])")
PLAIN = re.compile(r"[\w.:@/+-]+", re.ASCII)
WARNINGS = (
    events.LoginFailed,
    events.SignupRefused,
    events.RefreshRefused,
    events.RefreshReused,
    events.PasswordRefused,
    events.AccessRefused,
)


def line(name: str, /, **values: object) -> str:
    """Return one log line. None is left out; anything but plain text is quoted as JSON."""
    shown = {key: str(value) for key, value in values.items() if value is not None}
    return " ".join([name, *(f"{key}={_quoted(text)}" for key, text in shown.items())])


def log_event(event: events.Event) -> None:
    """Write the event's line (ASVS 16.3.1, 16.3.2). Events hold no password, token or other secret."""
    name = NEXT_WORD.sub("_", type(event).__name__).lower()
    values = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    logger.log(logging.WARNING if isinstance(event, WARNINGS) else logging.INFO, line(name, **values))


def configure() -> None:
    """Send the `gqlauth` log to standard error, with UTC times. For the server; a host configures its own."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _quoted(text: str) -> str:
    if PLAIN.fullmatch(text):
        return text
    # In ASCII: a log viewer may break the line at U+2028 and its like.
    return json.dumps(text)
