"""The mapped classes that every server without a class of its own has, for tests that look into the database."""

from __future__ import annotations

from gqlauth.models import create_models

MODELS = create_models()
METADATA = MODELS.metadata
User, Grant, Session, Key = MODELS.User, MODELS.Grant, MODELS.Session, MODELS.Key
