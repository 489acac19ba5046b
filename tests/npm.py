"""npm packages for the tests that run what a frontend runs."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import missing

INSTALL = ("install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--no-update-notifier")


def install(manifest: Path, config: pytest.Config) -> Path:
    """Return a folder with the packages that this package.json names; installed once, kept in pytest's cache."""
    shutil.which("node") or missing("node runs the packages")
    npm = shutil.which("npm") or missing("npm installs the packages")
    assert config.cache
    stamp = hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    folder = config.cache.mkdir(f"npm-{stamp}")
    if not (folder / "installed").exists():
        shutil.copy(manifest, folder)
        done = subprocess.run([npm, *INSTALL], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            missing(f"npm could not install {manifest.parent.name}: {done.stderr.strip()[-200:]}")
        (folder / "installed").touch()
    return folder
