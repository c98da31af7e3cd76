"""What a person does at the wizard: reads the code, signs, fills in pages. Shared by browser tests."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import Page

from blockhost.command import run
from testing.dry_run import DryRun

MESSAGE = "blockhost-access"
PAGES = ("wallet", "network", "storage", "local", "libvirt", "ipv6", "admin-commands")


class Operator:
    """Drives one browser page."""

    def __init__(self, page: Page, machine: DryRun, key: Path) -> None:
        self.page = page
        self.machine = machine
        self.key = key

    def new_code(self) -> str:
        """What `r` on the console gives: a fresh code."""
        return self.machine.run("-c", "from blockhost import codes; print(codes.issue().code)").strip()

    def log_in(self) -> None:
        self.page.goto("/login")
        self.page.fill("#otp", self.new_code())
        self.submit()

    def at(self) -> str:
        """The page that is open: `network` for /wizard/network."""
        return re.sub(r"^https://[^/]+/(wizard/)?|[?#].*$", "", self.page.url)

    def submit(self) -> None:
        """The main button of the page, and wait for what comes."""
        with self.page.expect_navigation(wait_until="load"):
            self.page.locator(
                "button.btn-primary[type=submit], button.btn-success[type=submit]"
            ).first.click()

    def fill(self, name: str) -> None:
        """Answers for this page that are accepted."""
        getattr(self, f"_fill_{name.replace('-', '_')}")()

    def answer(self, *names: str) -> None:
        """Fill in these pages, one after the other, from wherever the wizard leads."""
        for name in names:
            assert self.at() == name, self.page.url
            self.fill(name)
            self.submit()

    def sign(self, message: str = MESSAGE) -> tuple[str, str]:
        """Fingerprint and signature, as the wallet page says to make them."""
        signature = run(["ssh-keygen", "-Y", "sign", "-n", "blockhost", "-f", self.key], stdin=message)
        listed = run(["ssh-keygen", "-l", "-f", f"{self.key}.pub"])
        return listed.split()[1], signature

    def status(self) -> dict[str, object]:
        """The run, as the API tells it in this session."""
        answer = self.page.request.get("/api/finalize/status")
        return json.loads(answer.text())

    def _fill_wallet(self) -> None:
        fingerprint, signature = self.sign()
        self.page.fill("#admin_wallet", fingerprint)
        self.page.fill("[name=admin_signature] >> nth=0", signature)

    def _fill_network(self) -> None:
        self.page.check("[name=method][value=dhcp]")

    def _fill_storage(self) -> None:
        self.page.locator("[name=disk]:not([disabled])").first.check()

    def _fill_local(self) -> None:
        self.page.fill("[name=plan_name]", "Small")

    def _fill_libvirt(self) -> None:
        pass  # it proposes what fits

    def _fill_ipv6(self) -> None:
        self.page.check("[name=ipv6_mode][value=none]")

    def _fill_admin_commands(self) -> None:
        self.page.check("[name=admin_enabled][value=no]")

    def _fill_summary(self) -> None:
        self.page.check("#confirm")
