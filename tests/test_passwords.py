"""Passwords: what is accepted, and that the whole of it counts (NIST SP 800-63B-4 section 3.1.1.2; ASVS 6.2, 11.4)."""

from __future__ import annotations

import unicodedata

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gqlauth.passwords import Passwords, WeakPassword, common_passwords
from tests.fuzz import fuzz

passwords = Passwords(cost=4)
WORDS = ("ada.lovelace@example.com", "Ada King")


def allowed(password: str, *, words: tuple[str, ...] = WORDS, policy: Passwords = passwords) -> bool:
    try:
        policy.check(password, words=words)
    except WeakPassword as refusal:
        assert refusal.field == "password"
        return False
    return True


POLICY = [
    # length, in code points after NFKC
    ("x7$kQ2m", False),
    ("x7$kQ2m!", True),
    ("x7$kQ2mé", True),
    ("x7$kQ2me\u0301", True),  # nine code points as typed, eight composed
    ("x7$kQ2e\u0301", False),  # eight as typed, seven composed
    ("", False),
    ("\N{PILE OF POO}" * 7, False),
    ("\N{PILE OF POO}" * 8, True),
    ("x7$kQ2m!" * 32, True),  # 256
    ("x7$kQ2m!" * 32 + "x", False),
    ("\N{PILE OF POO}" * 256, True),
    ("\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 256, False),  # 18 code points each, composed
    ("x" * 1_000_000, False),
    # any composition of 64 characters (ASVS 6.2.5, 6.2.9)
    ("a" * 63 + "b", True),
    (" " * 64, True),
    ("\t\n\0\x7f" * 16, True),
    ("correct horse battery", True),
    ("all lower case letters", True),
    ("ONLY UPPER CASE", True),
    ("3141592653589793", True),
    # common ones (ASVS 6.2.4), in any case and width
    ("password", False),
    ("PassWord", False),
    ("\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44", False),
    ("12345678", False),
    ("qwertyuiop", False),
    # made of the person's own e-mail address or name, or of the service (ASVS 6.2.11)
    ("adalovelace", False),
    ("ADA.Lovelace1815!", False),
    ("ada.lovelace@example.com", False),
    ("lovelace12345", False),
    ("king2026king", False),
    ("gqlauth2026", False),
    ("GraphQL123", False),
    ("lovelace and babbage", True),
    ("kingfisher on a wire", True),
    # half a character: JSON can spell it, UTF-8 cannot
    ("x7$kQ2m\ud83d", False),
]


@pytest.mark.parametrize(("password", "expected"), POLICY, ids=[ascii(password)[:24] for password, _ in POLICY])
def test_the_policy_is_this_table(password: str, expected: bool) -> None:
    """ASVS 6.2.1, 6.2.5, 6.2.9, 6.2.11."""
    assert allowed(password) is expected


def test_words_of_the_name_count_in_any_width() -> None:
    assert not allowed("lovelace1815", words=("\uff2c\uff4f\uff56\uff45\uff4c\uff41\uff43\uff45",))


def test_the_least_length_can_be_raised() -> None:
    strict = Passwords(cost=4, min_length=15)
    assert not allowed("x7$kQ2m!x7$kQ2", policy=strict)
    assert allowed("x7$kQ2m!x7$kQ2m", policy=strict)


def test_the_3000_most_common_passwords_that_fit_the_policy_are_refused() -> None:
    """ASVS 6.2.4."""
    assert len(common_passwords()) > 3000
    assert all(len(password) >= 8 and password == password.casefold() for password in common_passwords())


# The hash


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=256))
@fuzz(40)
def test_a_password_verifies_and_one_with_anything_added_does_not(password: str) -> None:
    stored = passwords.hash(password)
    assert passwords.verify(password, stored)
    assert not passwords.verify(password + "x", stored)
    assert not passwords.verify("x" + password, stored)


@pytest.mark.parametrize("length", [8, 54, 55, 71, 72, 73, 100, 255, 256])
def test_the_last_character_counts_whatever_the_length(length: int) -> None:
    """ASVS 6.2.8; CVE-2025-22228: bcrypt reads 72 bytes."""
    for character in ("a", "é", "\N{PILE OF POO}"):
        stored = passwords.hash(character * length)
        assert passwords.verify(character * length, stored)
        assert not passwords.verify(character * (length - 1) + "b", stored)
        assert not passwords.verify(character * (length - 1), stored)


@pytest.mark.parametrize("nul", ["\0", "before\0after", "\0" * 8, "correct horse\0"])
def test_what_follows_a_nul_counts(nul: str) -> None:
    stored = passwords.hash(nul)
    assert passwords.verify(nul, stored)
    assert not passwords.verify(nul + "x", stored)
    assert not passwords.verify(nul.rstrip("\0") + "x", stored)


def test_case_and_blanks_count() -> None:
    stored = passwords.hash("Correct Horse ")
    assert not any(passwords.verify(other, stored) for other in ("correct horse ", "Correct Horse", " Correct Horse "))


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_every_spelling_of_the_same_text_is_the_same_password(form: str) -> None:
    """A keyboard composes or not; nobody sees the difference."""
    typed = "Crème brûlée \N{LATIN SMALL LIGATURE FI} ½ Ⅷ"
    other = unicodedata.normalize(form, typed)  # type: ignore[arg-type]
    assert passwords.verify(other, passwords.hash(typed))


def test_each_hash_has_a_salt_of_its_own_and_the_current_cost() -> None:
    """ASVS 11.4.2."""
    one, two = passwords.hash("x7$kQ2m!"), passwords.hash("x7$kQ2m!")
    assert one != two
    assert one.startswith("bcrypt-sha384$2b$04$")
    assert len(one) <= 128


def test_another_cost_or_scheme_asks_for_a_new_hash() -> None:
    stored = passwords.hash("x7$kQ2m!")
    assert not passwords.needs_rehash(stored)
    assert Passwords(cost=5).needs_rehash(stored)
    assert passwords.needs_rehash(bcrypt.hashpw(b"x7$kQ2m!", bcrypt.gensalt(4)).decode())


def bare(password: str, prefix: bytes = b"2b") -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4, prefix=prefix)).decode()


@pytest.mark.parametrize("prefix", [b"2a", b"2b"])
def test_a_bare_bcrypt_hash_of_another_system_verifies(prefix: bytes) -> None:
    assert passwords.verify("x7$kQ2m!", bare("x7$kQ2m!", prefix))
    assert not passwords.verify("x7$kQ2m?", bare("x7$kQ2m!", prefix))
    assert passwords.verify("x7$kQ2m!", bare("x7$kQ2m!").replace("$2b$", "$2y$"))


def test_a_bare_hash_is_of_the_text_as_it_was_typed() -> None:
    assert passwords.verify("\N{LATIN SMALL LIGATURE FI}sh and chips", bare("\N{LATIN SMALL LIGATURE FI}sh and chips"))


def test_a_bare_hash_of_more_than_72_bytes_is_not_believed() -> None:
    """What made it ignored the rest, and any other rest would do."""
    truncated = bare("a" * 72)
    assert passwords.verify("a" * 72, truncated)
    assert not passwords.verify("a" * 73, truncated)
    assert not passwords.verify("a" * 72 + "b", truncated)


def test_nothing_matches_where_there_is_no_user_or_no_hash() -> None:
    for password in ("", "\0", "x7$kQ2m!", "." * 53, "\ud83d"):
        assert not passwords.verify(password, None)
        assert not passwords.verify(password, "")


# What a refusal costs


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rounds of every bcrypt that runs, as powers of two."""
    rounds: list[int] = []
    original = bcrypt.checkpw

    def counting(password: bytes, hashed: bytes) -> bool:
        rounds.append(2 ** int(hashed.split(b"$")[2]))
        return original(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    return rounds


@pytest.mark.parametrize("password", ["x7$kQ2m?", "", "x" * 1_000_000, "\ud83d", "a" * 100])
@pytest.mark.parametrize("cost", [4, 6, 8])
def test_every_refusal_costs_the_same_bcrypt(work: list[int], password: str, cost: int) -> None:
    """ASVS 6.3.8: unknown user, wrong password, a hash of a lower cost or another scheme, a password of any length."""
    current = Passwords(cost=cost)
    for stored in (None, current.hash("x7$kQ2m!"), passwords.hash("x7$kQ2m!"), bare("x7$kQ2m!")):
        work.clear()
        assert not current.verify(password, stored)
        assert sum(work) == 2**cost


def test_a_right_password_costs_one_check(work: list[int]) -> None:
    assert Passwords(cost=6).verify("x7$kQ2m!", passwords.hash("x7$kQ2m!"))
    assert work == [2**4]


def test_the_dummy_is_a_hash_that_bcrypt_really_computes() -> None:
    """Were it malformed, bcrypt would answer at once."""
    dummy = Passwords(cost=12)._dummy.removeprefix("bcrypt-sha384")
    assert bcrypt.hashpw(b"anything", dummy.encode())[:29].decode() == dummy[:29]
    assert dummy.startswith("$2b$12$")
    assert len(dummy) == 60


@pytest.mark.parametrize(
    "stored", ["", "!", "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "bcrypt-sha384$2b$04$short"]
)
def test_a_hash_that_cannot_be_read_matches_nothing(stored: str) -> None:
    """An account that was imported from elsewhere is refused like any other, and breaks no login."""
    assert not Passwords(cost=4).verify("correct horse battery", stored)
