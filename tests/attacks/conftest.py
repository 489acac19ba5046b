"""Who is attacked, and who must not notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attackers import WellBehaved
from tests.processes import Server, serving


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as it comes, but for the cost of its hashes."""
    with serving(tmp_path_factory.mktemp("target"), environment="test", bcrypt_cost="4") as running:
        yield running
        assert "Traceback" not in running.stop()


@pytest.fixture
def others(target: Server, request: pytest.FixtureRequest) -> Iterator[WellBehaved]:
    """Somebody else, who must not notice."""
    client = WellBehaved(target, f"user{abs(hash(request.node.name))}@example.com")
    yield client
    client.close()
