"""A host's project, ready to be tested."""

from __future__ import annotations

import pytest

from tests.testing.support import SHOP, SHOP_CONFTEST


@pytest.fixture
def host(pytester: pytest.Pytester) -> pytest.Pytester:
    """A host's folder. That the plugin is there is for the entry point to see to."""
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = --strict-markers --strict-config\n")
    pytester.makepyfile(shop=SHOP)
    pytester.makeconftest(SHOP_CONFTEST)
    return pytester
