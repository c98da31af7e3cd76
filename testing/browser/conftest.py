"""A browser (Debian's Chromium) in front of the whole product in a dry run, behind real nginx."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

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
PICTURES = TOP / "build/pictures"
#: Pictures of the README; `BLOCKHOST_RENEW_PICTURES=1` renews them in docs/pictures.
README_PICTURES = {"wizard-network", "wizard-install"}

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
def make_context(browser: Browser) -> Iterator[MakeContext]:
    """Makes browser windows of their own; a page's own errors and policy violations fail the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def make(**options: object) -> BrowserContext:
        context = browser.new_context(
            **{
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


def _note(message: ConsoleMessage, complaints: list[str]) -> None:
    text, url = message.text, message.location.get("url", "")
    # A refused form or a capped stream is an answer, and a stream that nginx's reload cuts is taken
    # up again: no faults of the page.
    is_answer = "status of 4" in text or "status of 5" in text
    is_cut_stream = "/api/finalize/events" in url and "net::ERR" in text
    if message.type == "error" and not is_answer and not is_cut_stream:
        complaints.append(text)


@pytest.fixture
def operator(make_context: MakeContext, machine: DryRun, key: Path) -> Operator:
    """Somebody at a desktop browser who has read the console."""
    return Operator(make_context(base_url=machine.url).new_page(), machine, key)


@pytest.fixture
def make_operator(
    make_context: MakeContext, key: Path, request: pytest.FixtureRequest
) -> Callable[..., Operator]:
    """Somebody with a browser of their own, at the file's machine or the one given."""

    def make(*, machine: DryRun | None = None, **options: object) -> Operator:
        at = machine or request.getfixturevalue("machine")
        return Operator(make_context(base_url=at.url, **options).new_page(), at, key)

    return make


@pytest.fixture
def fresh_machine() -> Iterator[DryRun]:
    """An appliance of its own, for a test that runs the setup."""
    with dry_run() as machine:
        yield machine


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Takes a screenshot of the whole page."""
    PICTURES.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        image = page.screenshot(full_page=True, animations="disabled")
        (PICTURES / f"{name}.png").write_bytes(image)
        if name in README_PICTURES and os.environ.get("BLOCKHOST_RENEW_PICTURES") == "1":
            (TOP / "docs/pictures" / f"{name}.png").write_bytes(image)

    return take
