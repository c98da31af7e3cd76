"""The wizard in a real browser: from the login to a host that is ready."""

from __future__ import annotations

import sys

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


def test_two_windows_show_the_same_run(make_operator, fresh_machine) -> None:
    """A second browser, and a reload, show the run as it is; closing one changes nothing."""
    first = make_operator(machine=fresh_machine)
    first.log_in()
    first.answer(*PAGES, "summary")
    assert first.at() == "install"
    second = make_operator(machine=fresh_machine)
    second.log_in()
    assert second.at() == "install", "a run was started: there it leads"
    first.page.close()
    second.page.reload()
    second.page.wait_for_selector("#run[data-status=completed]", timeout=120_000)
    second.page.goto("/wizard/complete")
    report = second.page.get_by_role("region", name="Validation report")
    assert "ok" in report.inner_text().lower()


def test_failed_step_is_explained_and_retried(make_operator, fresh_machine, picture) -> None:
    """A program that the machine lacks: the page says which step, why, and what to try."""
    broken = fresh_machine.root / "usr/bin/blockhost-generate-signup"
    kept = broken.read_text()
    broken.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('the template is missing')\n")
    operator = make_operator(machine=fresh_machine)
    page = operator.page
    operator.log_in()
    operator.answer(*PAGES, "summary")
    page.wait_for_selector("#run[data-status=failed]", timeout=120_000)
    alert = page.get_by_role("alert")
    assert "template is missing" in alert.inner_text()
    check(page)
    picture(page, "wizard-install-failed")
    broken.write_text(kept)
    page.get_by_role("button", name="Retry").click()
    page.wait_for_selector("#run[data-status=completed]", timeout=120_000)
