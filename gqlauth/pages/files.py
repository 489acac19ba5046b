"""The files that browsers are served: where they are, what they are, and the headers of every answer."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).with_name("static")
# Starlette adds the charset to text/ alone (ASVS 4.1.1).
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml; charset=utf-8"}
SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
