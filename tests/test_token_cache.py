"""What is remembered of verified access tokens, and what is never believed because of it; and the keys themselves."""

from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc.jwk import import_key

from gqlauth import tokens
from gqlauth.errors import Reason
from gqlauth.settings import Algorithm
from gqlauth.tokens import InvalidToken
from tests.forge import ALGORITHMS, SECONDS, mint

ASYMMETRIC: tuple[Algorithm, ...] = ("ES256", "EdDSA", "RS256")


def test_a_remembered_token_expires_all_the_same() -> None:
    issuer = mint("ES256")
    token = issuer.issue()
    issuer.tokens.verify(token)
    assert token in issuer.tokens._verified
    issuer.clock.advance(SECONDS - 1)
    issuer.tokens.verify(token)
    issuer.clock.advance(1)
    with pytest.raises(InvalidToken) as refused:
        issuer.tokens.verify(token)
    assert refused.value.reason is Reason.TOKEN_EXPIRED


def test_a_remembered_token_is_forgotten_with_its_key() -> None:
    first, second = tokens.generate_key("ES256"), tokens.generate_key("ES256")
    issuer = mint("ES256", tokens.key_ring(first, []))
    token = issuer.issue()
    issuer.tokens.verify(token)
    issuer.tokens.use(tokens.key_ring(second, [first]))
    issuer.tokens.verify(token)
    issuer.tokens.use(tokens.key_ring(second, []))
    with pytest.raises(InvalidToken):
        issuer.tokens.verify(token)


def test_a_key_that_is_taken_away_while_a_token_is_verified_takes_the_token_with_it() -> None:
    """Keys are changed by another thread than the one that verifies."""
    issuer = mint("ES256")
    token = issuer.issue()

    original = issuer.tokens._decode

    def decode(presented: str) -> tokens.Claims:
        claims = original(presented)
        issuer.tokens.use(tokens.key_ring(tokens.generate_key("ES256"), []))
        return claims

    issuer.tokens._decode = decode  # type: ignore[method-assign, assignment]
    issuer.tokens.verify(token)
    issuer.tokens._decode = original  # type: ignore[method-assign]
    with pytest.raises(InvalidToken):
        issuer.tokens.verify(token)


def test_only_verified_tokens_are_remembered_and_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CACHED_TOKENS", 3)
    issuer = mint("HS256")
    issued = [issuer.issue() for _ in range(5)]
    for token in issued:
        issuer.tokens.verify(token)
        with pytest.raises(InvalidToken):
            issuer.tokens.verify(token[:-4] + "AAAA")
    assert list(issuer.tokens._verified) == issued[-3:]
    assert issuer.tokens.verify(issued[0]).user_id


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_key_is_read_as_it_was_written(algorithm: Algorithm) -> None:
    key = tokens.generate_key(algorithm)
    pem = tokens.serialize_key(key.private)
    assert tokens.load_key(key.kid, algorithm, pem).kid == key.kid
    for other in ALGORITHMS:
        if other != algorithm:
            with pytest.raises(ValueError, match="not one of"):
                tokens.load_key(key.kid, other, pem)
    with pytest.raises(ValueError, match="named"):
        tokens.load_key("another", algorithm, pem)


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_the_name_of_a_key_is_its_thumbprint(algorithm: Algorithm) -> None:
    """RFC 7638, as another implementation computes it."""
    key = tokens.generate_key(algorithm)
    assert import_key(dict(tokens.jwk(key.private.public_key()))).thumbprint() == key.kid


def test_a_curve_or_a_size_that_the_algorithm_does_not_have_is_refused() -> None:
    """RFC 8725 section 3.1: one key, one algorithm."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 -- to be refused
    for private, algorithm in ((ec.generate_private_key(ec.SECP384R1()), "ES256"), (weak, "RS256")):
        pem = tokens.serialize_key(private)
        with pytest.raises(ValueError, match="not one of"):
            tokens.load_key(tokens.thumbprint(private.public_key()), algorithm, pem)  # type: ignore[arg-type]


def test_a_public_key_is_no_shared_secret() -> None:
    with pytest.raises(jwt.InvalidKeyError):
        tokens.shared_secret(
            "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----"
        )


def test_nothing_secret_is_published() -> None:
    for algorithm in ALGORITHMS:
        published = tokens.jwks(mint(algorithm).ring, algorithm)["keys"]
        assert len(published) == (algorithm != "HS256")
        for key in published:
            assert key.keys() <= {"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"}
