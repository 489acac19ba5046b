"""How many examples hypothesis tries: by default few, and the same ones each time, so that a failure fails everywhere.

`GQLAUTH_NIGHTLY=1` tries many more, other ones each time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

NIGHTLY = bool(os.environ.get("GQLAUTH_NIGHTLY"))


def fuzz(examples: int = 100) -> settings:
    """Return the settings of a test that tries this many examples."""
    return settings(
        max_examples=examples * 250 if NIGHTLY else examples,
        derandomize=not NIGHTLY,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
