"""Access tokens: what is issued verifies, and nothing else does (RFC 7515, 8725, 9068; ASVS 9.1, 9.2)."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gqlauth import tokens
from gqlauth.errors import Reason
from gqlauth.settings import Algorithm
from gqlauth.tokens import InvalidToken
from tests import forge
from tests.forge import ALGORITHMS, AUDIENCE, ISSUER, SESSION_ID, USER_ID, WITHOUT, Mint, assert_invalid, mint
from tests.support import Clock

ASYMMETRIC: tuple[Algorithm, ...] = ("ES256", "EdDSA", "RS256")
NOW = int(Clock().now.timestamp())
DAY = 86_400


@pytest.fixture(params=ALGORITHMS)
def ours(request: pytest.FixtureRequest) -> Mint:
    return mint(request.param)


def test_what_is_issued_verifies_and_says_who_and_how_long(ours: Mint) -> None:
    claims = ours.tokens.verify(ours.issue())
    assert (claims.user_id, claims.session_id) == (USER_ID, SESSION_ID)
    assert (claims.issued_at, claims.expires_at) == (NOW, NOW + 900)


def test_the_header_and_the_claims_are_those_of_rfc_9068(ours: Mint) -> None:
    """RFC 9068 section 2.2."""
    token = ours.issue()
    assert jwt.get_unverified_header(token) == ours.header
    claims = jwt.decode(token, options={"verify_signature": False})
    assert {"iss", "exp", "aud", "sub", "client_id", "iat", "jti", "sid", "roles", "email_verified"} == claims.keys()


def test_every_token_has_its_own_name(ours: Mint) -> None:
    assert ours.tokens.verify(ours.issue()).token_id != ours.tokens.verify(ours.issue()).token_id


def test_a_token_never_outlives_its_session(ours: Mint) -> None:
    ends = ours.clock().replace(minute=1)
    token, seconds = ours.tokens.issue(USER_ID, SESSION_ID, until=ends)
    assert (seconds, ours.tokens.verify(token).expires_at) == (60, NOW + 60)


def test_what_is_signed_by_hand_with_our_key_and_our_claims_verifies(ours: Mint) -> None:
    """The forgeries below start from this one: were it refused, they would prove nothing."""
    for token in (ours.with_header(), ours.with_header(typ="AT+JWT"), ours.with_header(typ="application/at+jwt")):
        assert ours.tokens.verify(token).user_id == USER_ID
    assert ours.tokens.verify(ours.with_claims(aud=["another", AUDIENCE])).user_id == USER_ID


# The algorithm


def public_forms(issuer: Mint) -> list[bytes]:
    """Return every spelling in which a public key may be taken for a secret."""
    public = issuer.ring.verifying[issuer.ring.signing_kid]
    assert not isinstance(public, bytes)
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        json.dumps(tokens.jwk(public)).encode(),
        json.dumps(tokens.jwks(issuer.ring, issuer.algorithm)["keys"][0]).encode(),
        b"",
    ]
    if isinstance(public, rsa.RSAPublicKey):
        forms.append(public.public_bytes(Encoding.PEM, PublicFormat.PKCS1))
    return [*forms, *(form.strip() for form in forms)]


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
@pytest.mark.parametrize("hashing", ["HS256", "HS384", "HS512"])
def test_our_public_key_is_no_secret(algorithm: Algorithm, hashing: str) -> None:
    """CVE-2022-29217, CVE-2026-48526, CVE-2024-33663."""
    issuer = mint(algorithm)
    signer = jwt.algorithms.HMACAlgorithm(getattr(jwt.algorithms.HMACAlgorithm, hashing.replace("HS", "SHA")))
    for secret in public_forms(issuer):
        for header in ({**issuer.header, "alg": hashing}, {"alg": hashing, "typ": "at+jwt"}, issuer.header):
            message = f"{forge.encode(json.dumps(header).encode())}.{forge.encode(json.dumps(issuer.claims).encode())}"
            assert_invalid(issuer, f"{message}.{forge.encode(signer.sign(message.encode(), secret))}")


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 0, [], ["ES256"], {}, "HS256 ", "es256"])
def test_no_algorithm_or_an_unknown_one_is_refused(ours: Mint, name: Any) -> None:
    """ASVS 9.1.2; RFC 8725 section 3.1."""
    assert_invalid(ours, ours.with_header(alg=name))
    header, payload, _ = ours.with_header(alg=name).split(".")
    assert_invalid(ours, f"{header}.{payload}.")
    assert_invalid(ours, f"{header}.{payload}.AA")


def test_another_algorithm_than_the_configured_one_is_refused(ours: Mint) -> None:
    """ASVS 9.1.2; RFC 8725 section 3.1."""
    keys = {
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "ES384": ec.generate_private_key(ec.SECP384R1()),
        "RS256": forge._ring("RS256").signing_key,
        "RS512": forge._ring("RS256").signing_key,
        "PS256": forge._ring("RS256").signing_key,
        "EdDSA": forge._ring("EdDSA").signing_key,
        "HS256": b"another secret of more than 32 bytes",
        "HS512": forge.SECRET.encode() * 2,
    }
    for algorithm, key in keys.items():
        if algorithm != ours.algorithm:
            for header in (ours.header, {**ours.header, "alg": algorithm}):
                assert_invalid(ours, forge.sign(header, ours.claims, algorithm, key))


def test_a_key_of_somebody_else_signs_nothing_even_under_our_kid(ours: Mint) -> None:
    """ASVS 9.1.1."""
    if ours.algorithm == "HS256":
        other = tokens.shared_secret("another secret of more than 32 bytes")
    else:
        other = tokens.key_ring(tokens.generate_key(ours.algorithm), [])
    assert_invalid(ours, forge.sign(ours.header, ours.claims, ours.algorithm, other.signing_key))
    assert_invalid(ours, mint(ours.algorithm, other).issue())


# The header


@pytest.mark.parametrize(
    "typ", [WITHOUT, "JWT", "jwt", "id+jwt", "at+jwt ", "at", "", None, 1, ["at+jwt"], {}, "refresh"]
)
def test_another_type_of_token_is_refused(ours: Mint, typ: Any) -> None:
    """RFC 8725 sections 3.11 and 3.12; RFC 9068 sections 2.1 and 4; ASVS 9.2.2."""
    assert_invalid(ours, ours.with_header(typ=typ))


KIDS = ["unknown", "", "/dev/null", "../../keys/0", "' OR 1=1 --", "\0", "x" * 2000, 0, 1.5, True, ["a"], {"a": 1}]


@pytest.mark.parametrize("kid", KIDS)
def test_a_kid_leads_nowhere_but_to_our_keys(ours: Mint, kid: Any) -> None:
    """ASVS 9.1.3; RFC 8725 section 3.10."""
    assert_invalid(ours, ours.with_header(kid=kid))


@pytest.mark.parametrize("kid", [WITHOUT, None])
@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_missing_kid_is_refused_where_keys_have_names(algorithm: Algorithm, kid: Any) -> None:
    issuer = mint(algorithm)
    assert_invalid(issuer, issuer.with_header(kid=kid))


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"])
def test_a_key_that_the_token_brings_along_is_not_used(algorithm: Algorithm, name: str) -> None:
    """RFC 8725 section 3.10; ASVS 9.1.3."""
    issuer, theirs = mint(algorithm), tokens.generate_key(algorithm)
    public = {**tokens.jwk(theirs.private.public_key()), "alg": algorithm}
    value = {"jwk": public, "x5c": ["MIIB"]}.get(name, "https://attacker.example/keys.json")
    for kid in (issuer.ring.signing_kid, theirs.kid):
        header = {**issuer.header, name: value, "kid": kid}
        assert_invalid(issuer, forge.sign(header, issuer.claims, algorithm, theirs.private))


@pytest.mark.parametrize("crit", [["exp"], ["b64"], ["unknown"], [], None, "exp", {}, 1])
def test_a_critical_header_is_refused(ours: Mint, crit: Any) -> None:
    """RFC 7515 section 4.1.11, CVE-2026-32597: we understand none."""
    assert_invalid(ours, ours.with_header(crit=crit))
    assert_invalid(ours, ours.with_header(crit=crit, b64=False, exp=1))


@pytest.mark.parametrize("b64", [False, True, None, 0, "false"])
def test_an_unencoded_payload_is_refused(ours: Mint, b64: Any) -> None:
    """RFC 7797."""
    assert_invalid(ours, ours.with_header(b64=b64))


# The claims, signed with our own key


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "sid", "jti", "iat", "exp"])
def test_every_claim_must_be_there(ours: Mint, name: str) -> None:
    """RFC 9068 section 2.2; ASVS 9.2.1."""
    assert_invalid(ours, ours.with_claims(**{name: WITHOUT}))
    assert_invalid(ours, ours.with_claims(**{name: None}))


OTHER_ISSUERS = ["", ISSUER + "/", ISSUER[:-1], ISSUER.upper(), f" {ISSUER}", [ISSUER], {}, 1, "https://evil.example"]


@pytest.mark.parametrize("issuer", OTHER_ISSUERS)
def test_another_issuer_is_refused(ours: Mint, issuer: Any) -> None:
    """ASVS 9.2.3; RFC 8725 section 3.8; RFC 9068 section 4; GHSA-75c5-xw7c-p5pm: a part of `iss` matched."""
    assert_invalid(ours, ours.with_claims(iss=issuer))


OTHER_AUDIENCES = [
    "",
    "exampl",
    "examples",
    "EXAMPLE",
    [],
    ["other"],
    ["exampl", "e"],
    [AUDIENCE, 1],
    [[AUDIENCE]],
    {},
    1,
]


@pytest.mark.parametrize("audience", [*OTHER_AUDIENCES, {AUDIENCE: True}])
def test_another_audience_is_refused(ours: Mint, audience: Any) -> None:
    """ASVS 9.2.3; RFC 8725 section 3.9; RFC 9068 section 4."""
    assert_invalid(ours, ours.with_claims(aud=audience))


BAD_TIMES = [True, False, str(NOW + 60), NOW + 60.0, NOW + 60.5, float("nan"), float("inf"), [NOW + 60], {}, ""]


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("time", BAD_TIMES)
def test_a_time_that_is_no_whole_number_is_refused(ours: Mint, name: str, time: Any) -> None:
    assert_invalid(ours, ours.with_claims(**{name: time}))


@pytest.mark.parametrize("expiry", [NOW, NOW - 1, 0, -1, -(10**30)])
def test_an_expired_token_is_told_as_expired(ours: Mint, expiry: int) -> None:
    """ASVS 9.2.1; RFC 9068 section 4."""
    with pytest.raises(InvalidToken) as refused:
        ours.tokens.verify(ours.with_claims(exp=expiry))
    assert refused.value.reason is Reason.TOKEN_EXPIRED


def test_a_huge_expiry_is_a_number_like_any_other(ours: Mint) -> None:
    assert ours.tokens.verify(ours.with_claims(exp=10**400)).expires_at == 10**400


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_a_token_from_the_future_is_refused_beyond_a_little_skew(ours: Mint, name: str) -> None:
    """ASVS 9.2.1."""
    assert ours.tokens.verify(ours.with_claims(**{name: NOW + 5}))
    assert_invalid(ours, ours.with_claims(**{name: NOW + 6}))
    assert_invalid(ours, ours.with_claims(**{name: NOW + 100 * 365 * DAY}))
    assert_invalid(ours, ours.with_claims(**{name: 10**400}))


@pytest.mark.parametrize("name", ["sub", "sid"])
@pytest.mark.parametrize("value", ["", "1", 1, "../x", "' OR 1=1 --", ["a"], {}, "0" * 37, "g" * 32])
def test_an_id_that_is_no_uuid_is_refused(ours: Mint, name: str, value: Any) -> None:
    assert_invalid(ours, ours.with_claims(**{name: value}))
