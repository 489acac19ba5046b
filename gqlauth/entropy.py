"""How much of a secret an attacker has to guess, so that a placeholder is not taken for one.

No text proves that it is random; this finds what is certainly not: words of documentation, repetitions, rows of the
keyboard and of the alphabet.
"""

from __future__ import annotations

import math
import re
from re import Match

# Of 32 random hexadecimal digits, 107 are left on average; fewer than this are left of one in 10,000.
MIN_BITS = 60

# Examples from documentation. Each is long and varied enough to pass for a secret.
WELL_KNOWN = frozenset(
    {
        "a-string-secret-at-least-256-bits-long",
        "your-256-bit-secret-your-256-bit-secret",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "550e8400-e29b-41d4-a716-446655440000",
        "5367566b59703373367639792f423f4528482b4d6251655468576d5a71347437",
        "404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970",
    }
)
# What placeholders are made of, lower case and without digits in the place of letters.
WORDS = (
    "qwertyuiop asdfghjkl zxcvbnm qwerty asdf zxcv abcdef deadbeef cafebabe development authentication authorization "
    "administrator placeholder encryption production replacement passphrase environment application supersecret "
    "characters generated something signature password insecure changeme replace testing default example private "
    "minimum letters decrypt encrypt signing gqlauth graphql refresh session please before random string access "
    "secret change passwd sample server enough update insert should little really deploy dummy admin super token "
    "value local never bytes least chars using very long this that your mine here must have with from into test "
    "demo user auth hmac data hash safe keep some todo none null key jwt our the and for not now dev foo bar baz api "
    "app my me is it in to of at be by do go so xx"
)
PLACEHOLDER = re.compile("|".join(sorted(WORDS.split(), key=len, reverse=True)))
LEET = str.maketrans("0134578@$!", "oleastbasi")
LEET_LETTERS = 4
# A repetition of so many characters is no news.
REPEATED = 3
# Sequences are looked for in every, every second, third and fourth character: `a1b2c3d4`.
STRIDES = (1, 2, 3, 4)


def is_guessable(secret: str) -> bool:
    """Tell whether the secret is a known example, or less than `MIN_BITS` of it remain to be guessed."""
    plain = secret.strip().lower()
    return plain in WELL_KNOWN or len(set(secret)) < 10 or bits(secret) < MIN_BITS


def bits(secret: str) -> float:
    """Return an upper bound, in bits, on what is left to guess once words, repetitions and sequences are known."""
    rest = _without_words(secret)
    news = [rest[place] for place in range(len(rest)) if not _follows(rest, place)]
    return len(news) * math.log2(max(len(set(news)), 1))


def _without_words(secret: str) -> str:
    """Return the secret without what placeholders are made of."""
    plain = secret.lower().translate(LEET)
    if len(plain) != len(secret):  # lower-casing may lengthen a text: then no place is the other's
        return secret
    words = [found for found in PLACEHOLDER.finditer(plain) if _is_word(found, secret)]
    taken = {place for found in words for place in range(*found.span())}
    return "".join(character for place, character in enumerate(secret) if place not in taken)


def _is_word(found: Match[str], secret: str) -> bool:
    """Tell whether this is meant as a word: digits stand for letters in long ones alone."""
    return len(found[0]) >= LEET_LETTERS or found[0] == secret[slice(*found.span())].lower()


def _follows(text: str, place: int) -> bool:
    """Tell whether a character follows from those before it."""
    if text[max(0, place - REPEATED + 1) : place + 1] in text[:place] and place >= REPEATED - 1:
        return True
    return any(_continues(text, place, stride) for stride in STRIDES if place >= 2 * stride)


def _continues(text: str, place: int, stride: int) -> bool:
    """Tell whether every `stride`-th character repeats, rises or falls by one: `aaa`, `abc`, `321`."""
    last, one_before, two_before = (ord(text[place - back * stride]) for back in (0, 1, 2))
    step = last - one_before
    return step in (-1, 0, 1) and step == one_before - two_before
