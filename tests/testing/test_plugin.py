"""The plugin is there by itself, says what it is for, and costs nothing where it is not used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gqlauth import testing
from tests.docs import blocks
from tests.test_public_names import HEAVY, loaded_after
from tests.testing.support import SHOP_CONFTEST, run

PAGE = (Path(__file__).parent.parent.parent / "docs" / "testing.md").read_text("utf-8")


def test_with_nothing_written_the_kit_tests_the_ready_server(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    done = run(
        pytester,
        """
        def test_me(auth_client, outbox):
            ada = auth_client.login_as("ada@example.com", name="Ada")
            assert ada.execute("{ me { name email emailVerified } }") == {
                "me": {"name": "Ada", "email": "ada@example.com", "emailVerified": True}
            }
        """,
    )
    done.assert_outcomes(passed=1)


def test_without_the_extra_the_client_says_so_and_the_rest_works(host: pytest.Pytester) -> None:
    host.makeconftest("import sys\nsys.modules['httpx2'] = None\n" + SHOP_CONFTEST)
    done = run(host, "def test_client(auth_client): pass\ndef test_rest(outbox, frozen_clock): pass")
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(['*auth_client needs the extra: pip install "gqlauth[[]testing]"'])


def test_every_fixture_says_what_it_is_for(pytester: pytest.Pytester) -> None:
    done = pytester.runpytest_subprocess("--fixtures", "-p", "no:cacheprovider")
    for name in ("auth", "auth_app", "auth_client", "auth_path", "auth_settings", "frozen_clock", "outbox"):
        done.stdout.re_match_lines([rf"{name} -- .*gqlauth/testing/__init__.py:\d+", r"    \S.*"])


def test_a_run_of_pytest_that_does_not_use_it_loads_next_to_nothing() -> None:
    loaded = loaded_after("import pytest; import gqlauth.testing")
    assert "gqlauth" in loaded
    assert not loaded & (HEAVY | {"httpx2", "msgspec", "jwt"})


def test_the_page_on_testing_is_true(pytester: pytest.Pytester) -> None:
    shop, tests = blocks(PAGE, "python")
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(shop=shop)
    run(pytester, tests).assert_outcomes(passed=2)
    # The guard alone is not enough to forget: `viewer` raises.
    careless = shop.replace("(permission_classes=[IsAuthenticated])", "").replace(
        "{info.context.viewer.profile.email}", ""
    )
    (pytester.path / "shop.py").write_text(careless)
    run(pytester, tests).assert_outcomes(failed=2)


def test_the_page_lists_every_fixture() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    fixtures = [name for name, value in vars(testing).items() if isinstance(value, type(testing.auth))]
    assert sorted(listed) == sorted(fixtures)
