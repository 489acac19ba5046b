"""The signing keys in the database."""
