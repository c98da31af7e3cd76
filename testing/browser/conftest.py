"""A browser (Debian's Chromium) in front of the whole product in a dry run, behind real nginx."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from blockhost.command import run
from testing.browser.operator import Operator
from testing.dry_run import DryRun, dry_run

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TOP = Path(__file__).resolve().parents[2]
#: Where screenshots go; `BLOCKHOST_PICTURES=docs/pictures` renews those of the README.
PICTURES = Path(os.environ.get("BLOCKHOST_PICTURES") or TOP / "build/pictures")

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1100, "height": 900}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def machine() -> Iterator[DryRun]:
    """One appliance in a dry run, after first boot; shared by the tests of a file."""
    with dry_run() as machine:
        yield machine


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The operator's SSH key, made for this run."""
    path = tmp_path_factory.mktemp("key") / "id_ed25519"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path])
    return path


MakeContext = Callable[..., BrowserContext]


@pytest.fixture
def make_context(browser: Browser, machine: DryRun) -> Iterator[MakeContext]:
    """Makes browser windows of their own; a page's own errors and policy violations fail the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def make(**options: object) -> BrowserContext:
        context = browser.new_context(
            **{
                "base_url": machine.url,
                "ignore_https_errors": True,
                "viewport": DESKTOP,
                "locale": "en-GB",
                **options,
            }
        )
        context.set_default_timeout(20_000)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on("console", lambda message: _note(message, complaints))
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def _note(message: object, complaints: list[str]) -> None:
    text = getattr(message, "text", "")
    # A refused form or a capped stream is an answer, not a fault of the page.
    if getattr(message, "type", "") == "error" and "status of 4" not in text and "status of 5" not in text:
        complaints.append(text)


@pytest.fixture
def operator(make_context: MakeContext, machine: DryRun, key: Path) -> Operator:
    """Somebody at a desktop browser who has read the console."""
    return Operator(make_context().new_page(), machine, key)


@pytest.fixture
def make_operator(make_context: MakeContext, machine: DryRun, key: Path) -> Callable[..., Operator]:
    def make(**options: object) -> Operator:
        return Operator(make_context(**options).new_page(), machine, key)

    return make


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Takes a screenshot of the whole page."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(
        path=PICTURES / f"{name}.png", full_page=True, animations="disabled"
    )
