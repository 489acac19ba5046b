"""`verify_token` in a sibling service: what it believes of a token, given the keys (RFC 9068 section 4; RFC 8725)."""

from __future__ import annotations

import asyncio
import json
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gqlauth import InvalidToken, Reason, TokenVerifier, VerifiedToken, tokens, verify_token
from gqlauth.clock import utc_now
from gqlauth.settings import Algorithm
from tests import forge
from tests.forge import ALGORITHMS, AUDIENCE, ISSUER, SECONDS, SECRET, SESSION_ID, USER_ID, WITHOUT, Mint, mint

ASYMMETRIC: tuple[Algorithm, ...] = ("ES256", "EdDSA", "RS256")


def pem(issuer: Mint) -> bytes:
    public = issuer.ring.verifying[issuer.ring.signing_kid]
    assert not isinstance(public, bytes)
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def verifier(issuer: Mint, key: Any = None, /, **arguments: Any) -> TokenVerifier:
    if key is None:
        key = SECRET if issuer.algorithm == "HS256" else tokens.jwks(issuer.ring, issuer.algorithm)
    expected = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": [issuer.algorithm], "clock": issuer.clock}
    return TokenVerifier(key=key, **{**expected, **arguments})


def reason(sibling: TokenVerifier, token: str) -> Reason:
    with pytest.raises(InvalidToken) as refused:
        sibling.verify(token)
    with pytest.raises(InvalidToken) as refused_async:
        asyncio.run(sibling.verify_async(token))
    assert refused_async.value.reason is refused.value.reason
    return refused.value.reason


@pytest.fixture(params=ALGORITHMS)
def ours(request: pytest.FixtureRequest) -> Mint:
    return mint(request.param)


def test_it_says_who_in_which_session_and_how_long(ours: Mint) -> None:
    now = int(ours.clock().timestamp())
    found = verifier(ours).verify(ours.issue())
    assert (found.user_id, found.session_id) == (USER_ID, SESSION_ID)
    assert (found.issued_at, found.expires_at) == (now, now + SECONDS)
    assert found.claims["client_id"] == AUDIENCE
    assert found.claims["jti"] == found.token_id
    assert asyncio.run(verifier(ours).verify_async(ours.issue())).user_id == USER_ID


def test_roles_scopes_and_the_verified_address_are_read_where_they_are_told(ours: Mint) -> None:
    """RFC 9068 section 2.2.3; RFC 8693 section 4.2."""
    token = ours.with_claims(roles=["admin", "staff"], scope="read:orders write:orders", email_verified=True)
    found = verifier(ours).verify(token)
    assert found.roles == frozenset({"admin", "staff"})
    assert found.scopes == frozenset({"read:orders", "write:orders"})
    assert found.email_verified is True


def test_nobody_has_a_role_or_a_verified_address_that_is_not_told(ours: Mint) -> None:
    token = ours.with_claims(roles=WITHOUT, scope=WITHOUT, email_verified=WITHOUT)
    found = verifier(ours).verify(token)
    assert (found.roles, found.scopes, found.email_verified) == (frozenset(), frozenset(), False)


WRONG_CLAIMS = [
    {"roles": "admin"},
    {"roles": [1]},
    {"roles": {"admin": True}},
    {"scope": ["read"]},
    {"email_verified": "false"},
    {"email_verified": 1},
    {"iss": "https://evil.example"},
    {"iss": ISSUER + "/"},
    {"aud": "other"},
    {"aud": []},
    {"aud": WITHOUT},
    {"sub": "ada"},
    {"exp": WITHOUT},
    {"exp": "tomorrow"},
    {"nbf": 2**40},
    {"iat": 2**40},
]


@pytest.mark.parametrize("changes", WRONG_CLAIMS, ids=str)
def test_a_token_with_other_claims_is_refused(ours: Mint, changes: dict[str, Any]) -> None:
    """RFC 9068 section 4; RFC 8725 sections 3.8 and 3.9."""
    assert reason(verifier(ours), ours.with_claims(**changes)) is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    "changes", [{"typ": "JWT"}, {"typ": WITHOUT}, {"alg": "none"}, {"alg": ["ES256"]}, {"crit": ["exp"]}], ids=str
)
def test_a_token_with_another_header_is_refused(ours: Mint, changes: dict[str, Any]) -> None:
    """RFC 8725 sections 3.1 and 3.11; RFC 7515 section 4.1.11."""
    assert reason(verifier(ours), ours.with_header(**changes)) is Reason.TOKEN_INVALID


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "." * 5000, "é.é.é", "\0", "[" * 4000])
def test_what_is_no_token_is_refused(ours: Mint, text: str) -> None:
    assert reason(verifier(ours), text) is Reason.TOKEN_INVALID
    assert reason(verifier(ours), ours.issue() + text + " ") is Reason.TOKEN_INVALID


def test_another_service_and_another_issuer_have_other_tokens(ours: Mint) -> None:
    assert reason(verifier(ours, audience="another"), ours.issue()) is Reason.TOKEN_INVALID
    assert reason(verifier(ours, issuer="https://another.example"), ours.issue()) is Reason.TOKEN_INVALID


def test_an_expired_token_is_told_as_expired(ours: Mint) -> None:
    sibling, token = verifier(ours), ours.issue()
    ours.clock.advance(SECONDS - 1)
    assert sibling.verify(token)
    ours.clock.advance(1)
    assert reason(sibling, token) is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_public_key_alone_is_enough(algorithm: Algorithm) -> None:
    issuer = mint(algorithm)
    for key in (pem(issuer), pem(issuer).decode()):
        assert verifier(issuer, key).verify(issuer.issue()).user_id == USER_ID


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_one_that_is_signed_with_our_public_key_as_secret_is_refused(algorithm: Algorithm) -> None:
    """RFC 8725 section 2.1; CVE-2022-29217."""
    issuer = mint(algorithm)
    for secret in (pem(issuer), json.dumps(tokens.jwks(issuer.ring, algorithm)).encode()):
        for header in (issuer.header, {**issuer.header, "alg": "HS256"}, {"alg": "HS256", "typ": "at+jwt"}):
            assert reason(verifier(issuer), forge.hash_with(secret, header, issuer.claims)) is Reason.TOKEN_INVALID


def test_with_several_algorithms_each_key_still_has_one() -> None:
    """RFC 8725 section 3.1."""
    first, second = mint("ES256"), mint("RS256")
    both = {"keys": [key for issuer in (first, second) for key in tokens.jwks(issuer.ring, issuer.algorithm)["keys"]]}
    sibling = verifier(first, both, algorithms=["ES256", "RS256", "EdDSA"])
    assert sibling.verify(first.issue()) and sibling.verify(second.issue())
    for issuer, other in ((first, second), (second, first)):
        token = issuer.sign({**issuer.header, "kid": other.ring.signing_kid}, issuer.claims)
        assert reason(sibling, token) is Reason.TOKEN_INVALID
        token = forge.sign(
            {**issuer.header, "alg": other.algorithm}, issuer.claims, issuer.algorithm, issuer.ring.signing_key
        )
        assert reason(sibling, token) is Reason.TOKEN_INVALID


def test_a_key_of_somebody_else_is_not_ours() -> None:
    issuer, other = mint("ES256"), mint("ES256", tokens.key_ring(tokens.generate_key("ES256"), []))
    assert reason(verifier(issuer), other.issue()) is Reason.TOKEN_INVALID
    token = forge.sign(issuer.header, issuer.claims, "ES256", other.ring.signing_key)
    assert reason(verifier(issuer), token) is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "ES384"},
        {"alg": "RS256"},
        {"alg": None},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA", "n": "AQ", "e": "AQAB"},
        {"crv": "P-384"},
        {"x": "AA"},
        {"x": 1},
        {"x": "é"},
        {"kid": 1},
        {"kid": None},
    ],
    ids=str,
)
def test_a_key_that_says_to_be_for_something_else_is_not_used(changes: dict[str, Any]) -> None:
    """RFC 7517 sections 4.2 to 4.4, 5."""
    issuer = mint("ES256")
    [key] = tokens.jwks(issuer.ring, "ES256")["keys"]
    with pytest.raises(ValueError, match="no key of ES256"):
        verifier(issuer, {"keys": [{**key, **changes}]})
    assert verifier(issuer, {"keys": [{**key, **changes}, None, key]}).verify(issuer.issue())


def test_a_key_needs_only_what_rfc_7517_demands() -> None:
    issuer = mint("ES256")
    [key] = tokens.jwks(issuer.ring, "ES256")["keys"]
    bare: dict[str, Any] = {name: value for name, value in key.items() if name not in ("alg", "use")}
    assert verifier(issuer, {"keys": [bare]}).verify(issuer.issue())
    assert verifier(issuer, {"keys": [{**bare, "key_ops": ["verify"]}]}).verify(issuer.issue())


def private_pem() -> bytes:
    key = tokens.generate_key("ES256").private
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def other_curve() -> bytes:
    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


UNSAFE: dict[str, dict[str, Any]] = {
    "no key": {},
    "two sources": {"key": {"keys": []}, "jwks_url": "https://auth.example.com/jwks.json"},
    "no set": {"key": {}},
    "an empty set": {"key": {"keys": []}},
    "a secret where a key is needed": {"key": SECRET},
    "a private key": {"key": private_pem()},
    "another curve": {"key": other_curve()},
    "a key of another algorithm": {"key": pem(mint("RS256"))},
    "a public key as secret": {"key": pem(mint("ES256")), "algorithms": ["HS256"]},
    "a short secret": {"key": "x" * 31, "algorithms": ["HS256"]},
    "a published secret": {"jwks_url": "https://auth.example.com/jwks.json", "algorithms": ["HS256"]},
    "a secret beside public keys": {"key": pem(mint("ES256")), "algorithms": ["ES256", "HS256"]},
    "no algorithm": {"key": pem(mint("ES256")), "algorithms": []},
    "none": {"key": pem(mint("ES256")), "algorithms": ["none"]},
    "text for a list": {"key": pem(mint("ES256")), "algorithms": "ES256"},
    "no audience": {"key": pem(mint("ES256")), "audience": ""},
    "no issuer": {"key": pem(mint("ES256")), "issuer": ""},
    "plain http": {"jwks_url": "http://auth.example.com/jwks.json"},
    "a file": {"jwks_url": "file:///etc/passwd"},
    "no scheme": {"jwks_url": "auth.example.com/jwks.json"},
    "no host": {"jwks_url": "https:///jwks.json"},
    "an address that only begins like this machine's": {"jwks_url": "http://127.0.0.1.evil.example/jwks.json"},
    "this machine as the user": {"jwks_url": "http://127.0.0.1@evil.example/jwks.json"},
}


@pytest.mark.parametrize("arguments", UNSAFE.values(), ids=UNSAFE)
def test_what_could_not_verify_safely_is_refused_at_once(arguments: dict[str, Any]) -> None:
    """RFC 8725 sections 3.1, 3.5 and 3.10."""
    with pytest.raises(ValueError, match=r"\w"):
        TokenVerifier(**{"issuer": ISSUER, "audience": AUDIENCE, **arguments})


def test_a_secret_may_be_any_bytes() -> None:
    issuer = mint("HS256", tokens.shared_secret(bytes(range(128, 192))))
    assert verifier(issuer, bytes(range(128, 192))).verify(issuer.issue()).user_id == USER_ID


def test_the_function_is_the_class_for_once() -> None:
    """With the real clock: it takes none."""
    issuer = mint("ES256")
    issuer.clock.now = utc_now()
    found = verify_token(issuer.issue(), key=pem(issuer), issuer=ISSUER, audience=AUDIENCE)
    assert isinstance(found, VerifiedToken)
    with pytest.raises(InvalidToken):
        verify_token(issuer.issue(), key=pem(issuer), issuer=ISSUER, audience="another")
    with pytest.raises(ValueError, match="either"):
        verify_token(issuer.issue(), issuer=ISSUER, audience=AUDIENCE)


def test_every_algorithm_is_tried_above() -> None:
    assert set(ALGORITHMS) == set(get_args(Algorithm)) == {*ASYMMETRIC, "HS256"}
