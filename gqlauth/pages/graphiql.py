"""GraphiQL for a browser."""

from __future__ import annotations

from typing import Any


class GraphiQL:
    """Placeholder."""

    def __init__(self, settings: Any, path: str) -> None:
        self.show = None

    def routes(self) -> list[Any]:
        return []
