"""Access tokens that somebody has tampered with: no spelling but the one that was issued counts (RFC 7515, 8725)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gqlauth.settings import Algorithm
from tests import forge
from tests.forge import ALGORITHMS, Mint, assert_invalid, mint
from tests.fuzz import fuzz

algorithms = st.sampled_from(ALGORITHMS)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(params=ALGORITHMS)
def ours(request: pytest.FixtureRequest) -> Mint:
    return mint(request.param)


@given(algorithms, st.data())
@fuzz()
def test_a_token_with_one_flipped_bit_is_refused(algorithm: Algorithm, data: st.DataObject) -> None:
    issuer = mint(algorithm)
    characters = bytearray(issuer.issue().encode())
    characters[data.draw(st.integers(0, len(characters) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert_invalid(issuer, characters.decode("latin-1"))


@given(algorithms, st.integers(0, 2), st.data())
@fuzz()
def test_a_part_with_one_flipped_bit_is_refused(algorithm: Algorithm, index: int, data: st.DataObject) -> None:
    """ASVS 9.1.1; RFC 8725 section 3.3."""
    issuer = mint(algorithm)
    parts = issuer.issue().split(".")
    raw = bytearray(forge.decode(parts[index]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    parts[index] = forge.encode(bytes(raw))
    assert_invalid(issuer, ".".join(parts))


@given(algorithms, st.lists(st.integers(0, 5), max_size=6))
@fuzz()
def test_swapped_missing_and_additional_parts_are_refused(algorithm: Algorithm, order: list[int]) -> None:
    issuer = mint(algorithm)
    parts = [*issuer.issue().split("."), *issuer.with_claims(jti="another").split(".")]
    # The header is the same in both, so these two orders are the tokens themselves.
    assume([index % 3 if index == 3 else index for index in order] not in ([0, 1, 2], [0, 4, 5]))
    assert_invalid(issuer, ".".join(parts[index] for index in order))


@given(
    algorithms, st.integers(0, 2), st.sampled_from(["=", "==", "A", "\n", " ", "%3D", "\0", "\u200b", "\uff41", "+/"])
)
@fuzz()
def test_anything_added_to_a_part_is_refused(algorithm: Algorithm, index: int, tail: str) -> None:
    issuer = mint(algorithm)
    for position in (0, 1, 2):
        parts = issuer.issue().split(".")
        part = parts[index]
        parts[index] = (tail + part, part[:4] + tail + part[4:], part + tail)[position]
        assert_invalid(issuer, ".".join(parts))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_last_character_with_stray_bits_is_refused(ours: Mint, index: int) -> None:
    """Decoders ignore them; then one signed token would have many spellings."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    parts = ours.issue().split(".")
    if len(parts[index]) % 4 == 0:
        parts[index] = forge.encode(forge.decode(parts[index]) + b" ")  # JSON may end in a blank
    for stray in (1, 2, 3):
        last = alphabet[(alphabet.index(parts[index][-1]) + stray) % 64]
        mangled = [part if at != index else part[:-1] + last for at, part in enumerate(parts)]
        assert_invalid(ours, ".".join(mangled))


def test_the_standard_alphabet_of_base64_is_refused(ours: Mint) -> None:
    token = next(token for _ in range(100) if "-" in (token := ours.issue()) or "_" in token)
    assert_invalid(ours, token.replace("-", "+").replace("_", "/"))


@pytest.mark.parametrize("around", [" {}", "{} ", "\t{}", "{}\n", "\ufeff{}", "{}\u2028", "Bearer {}", '"{}"', "{},"])
def test_blanks_and_wrapping_are_refused(ours: Mint, around: str) -> None:
    assert_invalid(ours, around.format(ours.issue()))


@given(st.text(max_size=200) | st.from_regex(r"[\w-]{1,40}(\.[\w-]{0,40}){0,5}", fullmatch=True))
@fuzz()
def test_any_text_is_refused_without_an_accident(text: str) -> None:
    assert_invalid(mint("ES256"), text)


@given(algorithms, json_values | st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64"]), json_values))
@fuzz()
def test_any_header_is_refused_without_an_accident(algorithm: Algorithm, header: Any) -> None:
    issuer = mint(algorithm)
    assert_invalid(issuer, issuer.sign(header, issuer.claims))


@given(algorithms, json_values, st.sampled_from(["iss", "aud", "sub", "sid", "jti", "iat", "exp", "nbf"]))
@fuzz()
def test_any_claim_of_another_kind_is_refused_without_an_accident(algorithm: Algorithm, value: Any, name: str) -> None:
    issuer = mint(algorithm)
    assume(
        not (name == "jti" and isinstance(value, str)) and not (name in ("iat", "nbf", "exp") and type(value) is int)
    )
    assert_invalid(issuer, issuer.with_claims(**{name: value}))
    assert_invalid(issuer, issuer.sign(issuer.header, value))


def test_a_long_or_deeply_nested_token_is_refused(ours: Mint) -> None:
    assert_invalid(ours, ours.with_claims(extra="x" * 4096))
    assert_invalid(ours, "a" * 1_000_000)
    assert_invalid(ours, ours.sign(b"[" * 1400, ours.claims))
    assert_invalid(ours, ours.sign(ours.header, b'{"a":' * 500))


def test_text_that_is_not_utf_8_is_refused(ours: Mint) -> None:
    """RFC 8725 section 3.7."""
    assert_invalid(ours, ours.sign(ours.header, json.dumps(ours.claims).encode("utf-16")))
    assert_invalid(ours, ours.sign(ours.header, b"\xef\xbb\xbf" + json.dumps(ours.claims).encode()))
    assert_invalid(
        ours, ours.sign(ours.header, json.dumps({**ours.claims, "jti": "é"}, ensure_ascii=False).encode("l1"))
    )


def test_other_serialisations_are_refused(ours: Mint) -> None:
    header, payload, signature = ours.issue().split(".")
    for form in (
        {"protected": header, "payload": payload, "signature": signature},
        {"payload": payload, "signatures": [{"protected": header, "signature": signature}]},
    ):
        assert_invalid(ours, json.dumps(form))
    assert_invalid(ours, f"{header}..{signature}")
    assert_invalid(ours, f"{header}.{payload}.")
    assert_invalid(ours, f"{header}.{payload}.{signature}.{payload}.{signature}")
