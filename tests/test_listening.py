"""What `gqlauth serve` prints is true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import urlopen


def test_the_printed_address_can_be_asked_at_once(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("gqlauth")), "serve", "--port", "0"]
    environment = os.environ | {"GQLAUTH_ENVIRONMENT": "test", "GQLAUTH_DATABASE_URL": f"sqlite:///{tmp_path}/test.db"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            address = next(line.split()[1] for line in process.stdout if line.startswith("listening"))
            with urlopen(urljoin(address, "/healthz")) as answer:  # noqa: S310 -- our own address
                assert answer.status == 200
        finally:
            process.terminate()
