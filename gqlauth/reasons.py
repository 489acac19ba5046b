"""Why a credential does not count. A module of its own, so that whoever only verifies tokens imports nothing else."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a guard did not let the viewer in: `extensions.reason`."""

    TOKEN_MISSING = "TOKEN_MISSING"  # noqa: S105 -- a code, not a password
    TOKEN_INVALID = "TOKEN_INVALID"  # noqa: S105
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105
    SESSION_REVOKED = "SESSION_REVOKED"
    ACCOUNT_DISABLED = "ACCOUNT_DISABLED"
    ORIGIN_NOT_ALLOWED = "ORIGIN_NOT_ALLOWED"
    ROLE_REQUIRED = "ROLE_REQUIRED"
    SCOPE_REQUIRED = "SCOPE_REQUIRED"
    EMAIL_NOT_VERIFIED = "EMAIL_NOT_VERIFIED"
    NOT_OWNER = "NOT_OWNER"
    NOT_ALLOWED = "NOT_ALLOWED"
