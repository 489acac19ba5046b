"""What makes two e-mail addresses one."""

from __future__ import annotations

from gqlauth.users.service import check_email


def test_addresses_are_one_only_where_they_differ_by_capitals() -> None:
    assert check_email("Ada@EXAMPLE.com") == check_email("ada@example.com")
    assert check_email("x@straße.de") != check_email("x@strasse.de")
