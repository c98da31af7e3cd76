"""The wizard in a real browser: from the login to a host that is ready."""

from __future__ import annotations

import pytest

from testing.browser import axe
from testing.browser.operator import PAGES

pytestmark = pytest.mark.browser


def test_from_login_to_complete(operator, picture) -> None:
    page = operator.page
    page.goto("/")
    assert operator.at() == "login"
    check(page)
    picture(page, "wizard-login")
    operator.log_in()
    for name in (*PAGES, "summary"):
        assert operator.at() == name
        check(page)
        operator.fill(name)
        picture(page, f"wizard-{name}")
        operator.submit()
    assert operator.at() == "install"
    page.wait_for_selector(".is-in_progress, .is-completed")
    page.locator(".is-completed").nth(2).wait_for()
    picture(page, "wizard-install")
    check(page)
    page.wait_for_selector("#run[data-status=completed], #run[data-status=failed]", timeout=120_000)
    picture(page, "wizard-install-end")
    assert page.get_attribute("#run", "data-status") == "completed", page.inner_text("#run")
    check(page)
    page.click("#done a")
    assert operator.at() == "complete"
    check(page)
    picture(page, "wizard-complete")


def check(page) -> None:
    """No accessibility violation, and nothing that must be scrolled sideways."""
    assert axe.violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
