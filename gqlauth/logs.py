"""Structured log lines: one for each event, `name key=value …`; no value can break the line (ASVS 16.4.1)."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import sys
import time
import unicodedata

from gqlauth import events

logger = logging.getLogger("gqlauth")

NEXT_WORD = re.compile(r"(?<!^)(?=[A-Z])")
PLAIN = re.compile(r"[\w.:@/+-]+", re.ASCII)
# Controls, formatting such as a change of direction, halves of characters, private use, line and paragraph breaks.
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
WARNINGS = (
    events.LoginFailed,
    events.SignupRefused,
    events.RefreshRefused,
    events.RefreshReplayed,
    events.RefreshReused,
    events.PasswordRefused,
    events.AccessRefused,
    events.KeyRevoked,
)


def line(name: str, /, **values: object) -> str:
    """Return one log line. None is left out; anything but plain text is quoted as JSON."""
    shown = {key: str(value) for key, value in values.items() if value is not None}
    return " ".join([name, *(f"{key}={_quoted(text)}" for key, text in shown.items())])


def printable(text: str) -> str:
    """Return the text as one line that a terminal shows and does not obey: what it could obey is written out.

    An escape character becomes `\\x1b` (CWE-150). For whatever a person, a client or a host's code has chosen.
    """
    return "".join(_written_out(one) if unicodedata.category(one) in UNPRINTABLE else one for one in text)


def log_event(event: events.Event) -> None:
    """Write the event's line (ASVS 16.3.1, 16.3.2). Events hold no password, token or other secret."""
    name = NEXT_WORD.sub("_", type(event).__name__).lower()
    values = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    logger.log(logging.WARNING if isinstance(event, WARNINGS) else logging.INFO, line(name, **values))


class Lines(logging.Formatter):
    """Indents what follows the first line, such as a traceback, so that no text in it passes for a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's first line, and those of its traceback below it."""
        return "\n    ".join(printable(each) for each in super().format(record).splitlines())


def configure() -> None:
    """Send the `gqlauth` log to standard error, with UTC times. For the server; a host configures its own."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = Lines("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
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


def _written_out(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
