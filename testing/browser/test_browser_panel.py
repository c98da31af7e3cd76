"""The panel's page of machines in a browser: live, accessible, and careful with what cannot be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from testing.browser import axe
from testing.browser.conftest import PHONE
from testing.fakes.told_provisioner import ToldProvisioner
from testing.fixtures.panel_process import panel_process

pytestmark = pytest.mark.browser

OWNER = "SHA256:" + "a" * 43
#: Every signature is the owner's: logging in is tested elsewhere.
BW = f"#!/bin/sh\necho {OWNER}\n"
METRICS = {"cpu_percent": 25.0, "memory_used_mb": 512, "memory_total_mb": 1024, "net_rx_bytes_sec": 12345}


@dataclass
class Panel:
    url: str
    provisioner: ToldProvisioner


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    """The panel's own process, with a provisioner that answers as told."""
    root, programs = tmp_path / "r", tmp_path / "programs"
    for directory in (root / "etc/blockhost", root / "usr/share/blockhost", root / "run/blockhost", programs):
        directory.mkdir(parents=True)
    (programs / "bw").write_text(BW)
    (programs / "bw").chmod(0o755)
    provisioner = ToldProvisioner(tmp_path / "provisioner", programs=programs, root=root)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "BLOCKHOST_ROOT": str(root),
        "BLOCKHOST_PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin",
        "FAKE_PROVISIONER": str(provisioner.place),
    }
    with panel_process(tmp_path, environment) as port:
        yield Panel(f"http://localhost:{port}", provisioner)


def machine(name: str = "blockhost-001", status: str = "active", **metrics: object) -> dict[str, Any]:
    shown = {**METRICS, **metrics}
    return {"name": name, "status": status, "ip": "10.0.0.5", "created": "2026-01-02", "metrics": shown}


def logged_in(context: BrowserContext, panel: Panel) -> Page:
    page = context.new_page()
    page.goto(f"{panel.url}/login")
    page.fill("#signature", "U1NIU0lH" + "x" * 80)
    page.click("button[type=submit]")
    page.goto(f"{panel.url}/vms")
    return page


def test_page_keeps_itself_current(
    panel: Panel, make_context: Callable[..., BrowserContext], picture: Callable[[Page, str], None]
) -> None:
    panel.provisioner.lists(machine(), machine("blockhost-002", "suspended"))
    page = logged_in(make_context(), panel)
    first = page.locator('[data-name="blockhost-001"]')
    expect(first.locator('[data-field="cpu"]')).to_have_text("25 %")
    panel.provisioner.lists(
        machine(status="suspended", cpu_percent=80), machine("blockhost-002", "suspended")
    )
    expect(first.locator('[data-field="status"]')).to_have_text("suspended", timeout=20_000)
    expect(first.locator('[data-field="cpu"]')).to_have_text("80 %")
    assert len((first.locator("polyline").first.get_attribute("points") or "").split()) >= 2
    picture(page, "panel-machines")
    panel.provisioner.lists(machine())
    expect(page.locator("[data-name]")).to_have_count(1, timeout=20_000)


def test_some_of_many_machines_are_found(panel: Panel, make_context: Callable[..., BrowserContext]) -> None:
    panel.provisioner.lists(
        *(
            machine(f"blockhost-{number:03}", "suspended" if number == 7 else "active")
            for number in range(1, 13)
        )
    )
    page = logged_in(make_context(), panel)
    expect(page.locator("#summary")).to_have_text("12 machines: 11 active, 1 suspended")
    page.fill("#look-for", "susp 007")
    expect(page.locator("[data-name]:visible")).to_have_count(1)
    page.fill("#look-for", "")
    expect(page.locator("[data-name]:visible")).to_have_count(12)


def test_destroying_takes_the_name(panel: Panel, make_context: Callable[..., BrowserContext]) -> None:
    panel.provisioner.lists(machine())
    panel.provisioner.does("destroy")
    page = logged_in(make_context(), panel)
    page.click("summary")
    page.fill("#confirm-blockhost-001", "blockhost-002")
    page.click('[data-verb="destroy"] button')
    assert page.locator("#confirm-blockhost-001").evaluate("field => !field.validity.valid")
    page.fill("#confirm-blockhost-001", "blockhost-001")
    panel.provisioner.lists()
    page.click('[data-verb="destroy"] button')
    expect(page.get_by_text("There is no machine yet")).to_be_visible()
    assert ["destroy", "blockhost-001"] in panel.provisioner.calls()


def test_panel_that_went_away_is_said(panel: Panel, make_context: Callable[..., BrowserContext]) -> None:
    panel.provisioner.lists(machine())
    page = logged_in(make_context(), panel)
    expect(page.locator("#stale")).to_be_hidden()
    page.route("**/api/vms", lambda route: route.fulfill(status=503, json={"ok": False, "error": "no"}))
    expect(page.locator("#stale")).to_be_visible(timeout=20_000)
    page.unroute("**/api/vms")
    expect(page.locator("#stale")).to_be_hidden(timeout=20_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(panel: Panel, make_context: Callable[..., BrowserContext], scheme: str) -> None:
    panel.provisioner.lists(machine(), machine("blockhost-002", "suspended"))
    page = logged_in(make_context(color_scheme=scheme, viewport=PHONE), panel)
    page.locator("summary").first.click()
    assert axe.violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_page_works_without_scripts(panel: Panel, make_context: Callable[..., BrowserContext]) -> None:
    panel.provisioner.lists(machine())
    panel.provisioner.does("stop", code=1, stderr="the guest did not answer")
    page = logged_in(make_context(java_script_enabled=False), panel)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("alert").first).to_contain_text("the guest did not answer")
