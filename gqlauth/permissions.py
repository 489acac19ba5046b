"""The guards of fields. A guard lets the viewer in, or raises with its reason."""

from __future__ import annotations

from typing import Any

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.permission import BasePermission, PermissionExtension

from gqlauth.context import Context, Refused
from gqlauth.errors import Unauthenticated
from gqlauth.events import AccessRefused


class IsAuthenticated(BasePermission):
    """Somebody is signed in: the token is genuine and current, its session alive, its account enabled."""

    def has_permission(self, source: Any, info: strawberry.Info[Context, Any], **kwargs: Any) -> bool:
        """Return True, or raise `Unauthenticated` with the reason."""
        try:
            info.context.viewer  # noqa: B018 -- the property raises
        except Unauthenticated as refusal:
            _publish(info, refusal)
            raise
        return True


def guarded(*permissions: BasePermission) -> list[FieldExtension]:
    """Return the `extensions` of a guarded field. Unlike `permission_classes`, they show in the printed schema."""
    return [PermissionExtension(list(permissions) or [IsAuthenticated()])]


def _publish(info: strawberry.Info[Context, Any], refusal: Unauthenticated) -> None:
    identity = info.context.identity
    known = identity if isinstance(identity, Refused) else Refused(refusal.reason)
    info.context.runtime.events.publish(
        AccessRefused(
            field=info.field_name,
            reason=refusal.reason,
            user_id=known.user_id,
            session_id=known.session_id,
            ip_address=info.context.client.ip_address,
        )
    )
