"""npm packages for the tests that run what a frontend runs."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import missing

INSTALL = ("install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--no-update-notifier")


def install(manifest: Path, config: pytest.Config) -> Path:
    """Return a folder with the packages that this package.json names; installed once, kept in pytest's cache."""
    shutil.which("node") or missing("node runs the packages")
    npm = shutil.which("npm") or missing("npm installs the packages")
    assert config.cache
    packages = config.cache.mkdir("npm")
    folder = packages / hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    if not folder.exists():
        # Another process may be at it too: whoever is done first moves its folder there, whole.
        with TemporaryDirectory(dir=packages, ignore_cleanup_errors=True) as unfinished:
            begun = Path(unfinished, "begun")
            begun.mkdir()
            shutil.copy(manifest, begun)
            done = subprocess.run([npm, *INSTALL], cwd=begun, capture_output=True, text=True)
            if done.returncode:
                missing(f"npm could not install {manifest.parent.name}: {done.stderr.strip()[-200:]}")
            with suppress(OSError):
                begun.rename(folder)
    return folder
