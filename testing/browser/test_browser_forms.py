"""Forms in a real browser: without scripts, by keyboard alone, on a phone, in the dark, and refused."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from testing.browser import axe
from testing.browser.conftest import PHONE
from testing.browser.operator import PAGES

pytestmark = pytest.mark.browser


def test_code_in_the_fragment_is_filled_in_and_forgotten(operator) -> None:
    page = operator.page
    code = operator.new_code()
    page.goto(f"/login#{code}")
    expect(page.locator("#otp")).to_have_value(code)
    assert "#" not in page.url
    page.keyboard.press("Enter")
    page.wait_for_url("**/wizard/wallet")


def test_wrong_code_is_explained(operator, picture) -> None:
    page = operator.page
    operator.new_code()
    page.goto("/login")
    page.fill("#otp", "AAAA-AAAA")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("That is not the code")
    expect(alert).to_contain_text("blockhost-otp")
    assert axe.violations(page) == []
    picture(page, "wizard-login-refused")


def test_refused_form_tells_each_fault_at_its_field(operator, picture) -> None:
    page = operator.page
    operator.log_in()
    operator.answer("wallet")
    page.check("[name=method][value=static]")
    page.fill("#address", "10.0.0.300")
    page.fill("#gateway", "10.0.0.1")
    page.fill("#hostname", "bad name")
    operator.submit()
    assert operator.at() == "network"
    assert page.title().startswith("Error: ")
    expect(page.locator("#errors")).to_be_focused()
    address = page.locator("#address")
    expect(address).to_have_value("10.0.0.300")
    expect(address).to_have_accessible_description(
        "expected an IPv4 address such as 192.168.1.10, got '10.0.0.300'"
    )
    assert axe.violations(page) == []
    picture(page, "wizard-network-refused")
    page.click("#errors a >> nth=0")
    expect(address).to_be_focused()


def test_fields_follow_the_choice(operator) -> None:
    page = operator.page
    operator.log_in()
    operator.answer("wallet")
    expect(page.locator("#address")).to_be_hidden()
    page.check("[name=method][value=static]")
    expect(page.locator("#address")).to_be_visible()
    page.fill("#address", "10.0.0.5")
    page.check("[name=method][value=dhcp]")
    operator.submit()
    assert operator.at() == "storage", "what is hidden was sent and contradicted the choice"


def test_whole_wizard_without_scripts(make_operator, picture) -> None:
    operator = make_operator(java_script_enabled=False)
    operator.log_in()
    operator.answer(*PAGES)
    assert operator.at() == "summary"
    picture(operator.page, "wizard-summary-plain")


def test_whole_wizard_by_keyboard(operator) -> None:
    """Every control can be reached with Tab and worked with Space and Enter."""
    page = operator.page
    page.goto("/login")
    page.keyboard.type(operator.new_code())
    page.keyboard.press("Enter")
    page.wait_for_url("**/wizard/wallet")
    fingerprint, signature = operator.sign()
    tab_to(page, "[name=admin_signature]")
    page.keyboard.insert_text(signature)
    tab_to(page, "[name=admin_wallet]")
    page.keyboard.insert_text(fingerprint)
    page.keyboard.press("Enter")
    page.wait_for_url("**/wizard/network")
    tab_to(page, "[name=method]")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#address")).to_be_visible()
    tab_to(page, "#address")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowUp")
    tab_to(page, "button.btn-primary")
    page.keyboard.press("Enter")
    page.wait_for_url("**/wizard/storage")
    tab_to(page, "[name=disk]")
    page.keyboard.press("Space")
    tab_to(page, "button.btn-primary")
    page.keyboard.press("Enter")
    page.wait_for_url("**/wizard/local")


def tab_to(page, selector: str) -> None:
    """Press Tab until the focus is on the element; it must be visible there."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            shown = page.evaluate(
                "() => { const at = document.activeElement; const look = getComputedStyle(at);"
                " const frame = getComputedStyle(at.closest('label') || at);"
                " return look.outlineStyle !== 'none' || frame.outlineStyle !== 'none'; }"
            )
            assert shown, f"the focus on {selector} cannot be seen"
            return
    raise AssertionError(f"Tab does not reach {selector}")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_phone(make_operator, picture, scheme: str) -> None:
    operator = make_operator(viewport=PHONE, color_scheme=scheme, has_touch=True, device_scale_factor=2)
    page = operator.page
    page.goto("/login")
    look_at(page, picture, f"phone-{scheme}-login")
    operator.log_in()
    for name in PAGES:
        assert operator.at() == name
        if name == "network":
            page.check("[name=method][value=static]")
        look_at(page, picture, f"phone-{scheme}-{name}")
        operator.fill(name)
        operator.submit()
    look_at(page, picture, f"phone-{scheme}-summary")


def test_desktop_in_the_dark(make_operator, picture) -> None:
    operator = make_operator(color_scheme="dark")
    page = operator.page
    operator.log_in()
    for name in PAGES:
        look_at(page, picture, f"dark-{name}")
        operator.fill(name)
        operator.submit()
    look_at(page, picture, "dark-summary")


def look_at(page, picture, name: str) -> None:
    assert axe.violations(page) == []
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1], f"{name} must be scrolled sideways"
    picture(page, name)
