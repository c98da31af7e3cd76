"""The signup page of the local engine, as visitors see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from blockhost.config_files import BLOCKHOST, write_config
from blockhost.engine_local.ledger import open_ledger, plans, store
from blockhost.engine_local.ledger.plans import Offer
from blockhost.engine_local.signup import page as signup
from testing.browser import axe
from testing.browser.conftest import PHONE

pytestmark = pytest.mark.browser

OFFERS = (
    Offer("Small", 50, 1, 2048, 20),
    Offer("A plan with a long name and, unbrokenly, " + "x" * 23, 12345, 8, 65536, 2000),
    Offer("Free", 0, 1, 512, 5),
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("count", [0, len(OFFERS)])
def test_page_fits_a_phone_and_is_accessible(
    make_context: Callable[..., BrowserContext],
    picture: Callable[[Page, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    count: int,
) -> None:
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    for folder in ("etc/blockhost", "var/lib/blockhost"):
        (tmp_path / folder).mkdir(parents=True)
    store.create()
    with open_ledger() as book:
        for offer in OFFERS[:count]:
            plans.create(book, offer)
    write_config(
        BLOCKHOST, {"admin": {"wallet_address": "SHA256:" + "A" * 43}, "local": {"contact": "x@example.org"}}
    )
    (tmp_path / "signup.html").write_text(signup.render())
    page = make_context(color_scheme=scheme, viewport=PHONE, bypass_csp=True).new_page()
    page.goto((tmp_path / "signup.html").as_uri())
    picture(page, f"signup-{scheme}-{count}")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert axe.violations(page) == []
