"""The public test vectors of project Wycheproof, through the function that checks the signature of our access tokens.

The vectors are JWS of any content, so that the checks of header and claims would refuse all of them: here it is the
form, the algorithm, the key and the signature alone that decide. Of the 510 vectors
- those of JWE and of JWS JSON serialisation go in as they are: we know neither, and must refuse both;
- those of algorithms that we do not have (RS384, PS256, ES512, HS384, …) go in under the one of ours that takes the
  same kind of key, and must be refused there;
- those about sets of keys, and `use` or `key_ops` of a key, do not apply: no key is ever read from a JWK or chosen by
  anything but our own configuration.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
from jwt.algorithms import get_default_algorithms

from gqlauth.settings import Algorithm
from gqlauth.tokens import signed_payload
from tests.forge import decode

FOLDER = Path(__file__).parent / "vectors" / "wycheproof"
OURS: dict[str, Algorithm] = {"EC": "ES256", "RSA": "RS256", "oct": "HS256"}

# Invalid only for what the JWK says about its key (`use`, `key_ops`, `alg`), or for who made the key.
ABOUT_THE_KEY = {
    "json_web_key-6-rejectsWrongUse",
    "json_web_key-7-rejectsKeyWithRocaVulnerability",
    "json_web_key-19-mismatchedAlgAndCurve",
    "json_web_key-20-mismatchedAlgAndCurve",
    "json_web_key-21-rejectsModifiedKey",
    "json_web_key-25-rejectsAesKey",
    "json_web_key-26-rejectsAesKey",
    "json_web_crypto-46-rejectsKeyWithRocaVulnerability",
    "json_web_signature-332-UsingRS256",
    "json_web_signature-353-rejectWrongUse",
    "json_web_signature-354-rejectWrongUse",
    "json_web_signature-355-rejectWrongKeyOps",
    "json_web_signature-356-rejectWrongKeyOps",
}
# Marked invalid for a padding that the file has lost: byte for byte the same as the valid 357.
DEFECTIVE = {"json_web_signature-367-invalidBase64Padding", "json_web_signature-370-invalidBase64PaddingInPayload"}
# Valid by RFC 7515, refused by us: an empty payload, and characters that base64url does not have.
STRICTER = {"emptyPayload", "InvalidCharacterInsertedInHeader", "InvalidCharacterInsertedInPayload"}


class Vector(NamedTuple):
    """One vector with its key."""

    name: str
    comment: str
    key: dict[str, Any]
    token: Any
    valid: bool


def vectors() -> list[Vector]:
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        for group in json.loads(path.read_text("utf-8"))["testGroups"]:
            key = group.get("public") or group["private"]
            for test in group["tests"]:
                name = f"{path.stem.removesuffix('_test')}-{test['tcId']}-{test['comment']}"
                token = test["jws"] if "jws" in test else test["jwe"]
                found.append(Vector(name, test["comment"], key, token, test["result"] == "valid"))
    return found


def applicable() -> list[Vector]:
    single = [vector for vector in vectors() if "keys" not in vector.key or len(vector.key["keys"]) == 1]
    return [vector for vector in single if vector.name not in ABOUT_THE_KEY | DEFECTIVE]


def verifies(vector: Vector) -> bool:
    key = vector.key.get("keys", [vector.key])[0]
    algorithm = OURS[key["kty"]]
    token = vector.token if isinstance(vector.token, str) else json.dumps(vector.token)
    try:
        signed_payload(token, _load(key, algorithm), algorithm)
    except (jwt.PyJWTError, ValueError):
        return False
    return True


def _load(key: dict[str, Any], algorithm: Algorithm) -> Any:
    if algorithm == "HS256":
        return decode(key["k"])
    public = {name: value for name, value in key.items() if name in ("kty", "crv", "x", "y", "n", "e")}
    return get_default_algorithms()[algorithm].from_jwk(public)


@pytest.mark.parametrize("vector", applicable(), ids=lambda vector: vector.name)
def test_a_vector_verifies_only_if_it_is_valid_and_of_our_algorithm(vector: Vector) -> None:
    assert verifies(vector) == (vector.valid and vector.comment not in STRICTER and _is_ours(vector))


def _is_ours(vector: Vector) -> bool:
    if not isinstance(vector.token, str) or vector.token.count(".") != 2:
        return False
    return jwt.get_unverified_header(vector.token)["alg"] in OURS.values()


def test_the_vectors_are_all_there() -> None:
    """Were the files empty or read wrongly, everything above would be green too."""
    assert len(vectors()) == 510
    assert len(applicable()) == 488
    assert sum(verifies(vector) for vector in applicable()) == 22
