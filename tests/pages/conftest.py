"""A real Chromium, and the npm packages that GraphiQL and the tests need."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests import npm
from tests.conftest import missing
from tests.pages.visits import PATIENCE_MS

PACKAGES = Path(__file__).with_name("package.json")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A name of this machine that the browser does not trust as it trusts localhost.
    "--host-resolver-rules=MAP server.example 127.0.0.1",
)


@pytest.fixture(scope="session")
def packages(pytestconfig: pytest.Config) -> Path:
    """A node_modules folder with what package.json names; installed once, kept in pytest's cache."""
    return npm.install(PACKAGES, pytestconfig) / "node_modules"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running Chromium, the system's own."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        missing("Chromium shows the pages")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=BROWSER_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile of the browser: its tabs share their cookies."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(PATIENCE_MS)
        yield context
