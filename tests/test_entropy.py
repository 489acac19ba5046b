"""Secrets that can be guessed are told from those that are random."""

from __future__ import annotations

import secrets
import string
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gqlauth.entropy import is_guessable
from tests.fuzz import fuzz

GUESSABLE = [
    "0123456789" * 4,
    "change-me-" * 4,
    "CHANGE_ME_BEFORE_GOING_TO_PRODUCTION_1",
    "please-change-this-before-going-to-production",
    "a-string-secret-at-least-256-bits-long",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "ThisIsMySuperSecretKeyThatIsLongEnough",
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "your_secret_key_here_at_least_32_characters",
    "MySecretKeyForJWTTokenGeneration2023!",
    "P@ssw0rdP@ssw0rdP@ssw0rdP@ssw0rd!",
    "gqlauth-production-encryption-key-2026",
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "zyxwvutsrqponmlkjihgfedcba9876543210",
    "qwertyuiopasdfghjklzxcvbnm1234567890",
    "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6",
    "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "00112233445566778899aabbccddeeff",
    "1234567890abcdef1234567890abcdef",
    "aA1!bB2@cC3#dD4$eE5%fF6^gG7&hH8*",
    "!@#$%^&*()_+!@#$%^&*()_+!@#$%^&*()_+",
    "keyboardcatkeyboardcatkeyboardcat",
    "kT3#vQ9!kT3#vQ9!kT3#vQ9!kT3#vQ9!",
    "x" * 64,
]


@pytest.mark.parametrize("secret", GUESSABLE)
def test_placeholders_patterns_and_sequences_can_be_guessed(secret: str) -> None:
    """RFC 8725 section 3.5."""
    assert is_guessable(secret)


@fuzz()
@given(st.text(st.sampled_from(string.ascii_letters + string.digits), min_size=1, max_size=8), st.integers(7, 12))
def test_a_short_text_repeated_can_be_guessed(part: str, times: int) -> None:
    assert is_guessable(part * times)


MADE = {
    "openssl rand -base64 32": lambda: secrets.token_urlsafe(32),
    "openssl rand -hex 32": lambda: secrets.token_hex(32),
    "24 bytes in base64": lambda: secrets.token_urlsafe(24),
    "32 letters": lambda: "".join(secrets.choice(string.ascii_lowercase) for _ in range(32)),
    "uuidgen": lambda: str(uuid.uuid4()),
}


@pytest.mark.parametrize("way", MADE)
def test_what_was_made_at_random_is_taken(way: str) -> None:
    """Of 20,000 of each, none was refused, and the least had 20 bits to spare."""
    assert not any(is_guessable(MADE[way]()) for _ in range(100))


def test_a_sentence_of_random_words_is_taken() -> None:
    assert not is_guessable("correct horse battery staple orbit velvet")
