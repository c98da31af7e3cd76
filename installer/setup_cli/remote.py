"""A setup over HTTPS: the wizard's pages and API, as a browser uses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from blockhost.errors import BlockhostError, WorkerError
from blockhost.i18n import gettext as _
from installer.setup_cli.http import Browser, Reply, Unreachable
from installer.setup_cli.output import printable
from installer.setup_cli.page import Complaint, read_page
from installer.setup_cli.sessions import SavedSession
from installer.setup_cli.tls import Pins, parse_fingerprint

#: The wizard says something at least every 10 s; a stream that is silent for longer is dead.
STREAM_IDLE_S = 25.0
#: A new address is given up on this long before the machine takes it back, so that both agree.
CONFIRM_MARGIN_S = 10.0


class NotLoggedIn(BlockhostError):
    """The server wants the one-time code."""


class PageRefused(BlockhostError):
    """A page did not take its form; `complaints` are what it says."""

    def __init__(self, section: str, complaints: tuple[Complaint, ...], status: int) -> None:
        lines = []
        for complaint in complaints:
            # The page already writes "field: …" in its summary; the file's own name of it is clearer.
            message = (
                complaint.message.removeprefix(f"{complaint.field}: ")
                if complaint.field
                else complaint.message
            )
            place = f"{section}.{complaint.field}" if complaint.field else section
            lines.append(f"{place}: {printable(message)}")
        super().__init__(
            "\n".join(lines) or _("%(page)s: refused (HTTP %(status)d)") % {"page": section, "status": status}
        )
        self.complaints = complaints


class NewAddressUnreachable(BlockhostError):
    """The address that was answered does not lead from here to the machine."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            _("the new address %(address)s was tried and does not answer from here: %(reason)s")
            % {"address": address, "reason": reason},
            hint=_(
                "The machine takes it back by itself. Run this where that address can be reached, "
                "or answer network with method: dhcp"
            ),
        )


class RemoteSetup:
    """One logged-in client of one machine."""

    def __init__(self, url: str, fingerprint: str, *, browser: Browser | None = None) -> None:
        self.pins = Pins(fingerprint)
        self._fingerprint = fingerprint
        self.browser = browser or Browser(url, self.pins)
        self._announced: list[str] = []
        self._saved = SavedSession(self.browser.origin, fingerprint)
        cookies, announced = self._saved.load()
        self.browser.cookies.update(cookies)
        for pin in announced:
            self._announce(pin)

    # --- getting in ----------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """The server's own word that it is there; the first thing asked, so the pin is checked here."""
        return self._json(self.browser.get("/healthz"))

    def is_logged_in(self) -> bool:
        """True while the session of an earlier login holds."""
        return bool(self.browser.cookies) and self.browser.get("/api/finalize/status").status == 200

    def login(self, otp: str) -> None:
        """Log in with the code from the console.

        Raises:
            PageRefused: the code is wrong, used, expired or locked; the page says which.
        """
        reply = self.browser.post_form("/login", {"otp": otp}, repeatable=False)
        if reply.status != 200 or reply.path == "/login":
            raise _refusal("login", reply)
        self._saved.save(self.browser.cookies, self._announced)

    # --- answering -------------------------------------------------------------------------------

    def answer(self, section: str, route: str, form: Mapping[str, str]) -> None:
        """Post one page.

        Raises:
            PageRefused: names section and field of each complaint.
            NotLoggedIn: the session has ended.
        """
        reply = self.browser.post_form(route, form)
        if reply.path == "/login":
            raise _login_needed()
        if reply.status != 200 or reply.path == route:
            raise _refusal(section, reply)

    def follow_address(self) -> str:
        """Prove an address that the machine tries since the network page; all that follows goes there.

        Returns the new address, empty when none is tried.

        Raises:
            NewAddressUnreachable: it does not answer from here, and the machine will take it back.
        """
        tried = self._json(self.browser.get("/api/network/trial"))
        if not tried.get("address"):
            return ""
        address = str(tried["address"])
        patience = max(1.0, float(tried.get("seconds_left", 0)) - CONFIRM_MARGIN_S)
        moved = self.browser.at(address, patience=patience)
        try:
            self._json(moved.post_json("/api/network/confirm", {}))
        except Unreachable as error:
            raise NewAddressUnreachable(address, str(error)) from error
        self._saved.forget()
        self.browser = self.browser.at(address)
        self._saved = SavedSession(self.browser.origin, self._fingerprint)
        self._saved.save(self.browser.cookies, self._announced)
        return address

    def summary(self) -> str:
        """The hash of the plan that the summary shows; empty where the page has none.

        Raises:
            PageRefused: a page before it is not answered.
        """
        reply = self.browser.get("/wizard/summary")
        if reply.path == "/login":
            raise _login_needed()
        if reply.path != "/wizard/summary" or reply.status != 200:
            raise BlockhostError(
                _("the wizard does not open its summary but %s") % reply.path,
                hint=_("Is that page missing in the answers file?"),
            )
        return read_page(reply.text).inputs.get("plan", "")

    def confirm(self, plan: str) -> None:
        """Confirm the plan, which starts the run.

        Raises:
            PageRefused: the plan changed meanwhile, or the worker refused.
        """
        self.answer("summary", "/wizard/summary", {"confirm": "yes", **({"plan": plan} if plan else {})})

    # --- watching and the rest -----------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The contract's status document; a new certificate that it announces is accepted from now on."""
        status = self._json(self.browser.get("/api/finalize/status"))
        self._listen(
            status.get("steps", {}).get("https", {}) if isinstance(status.get("steps"), dict) else {}
        )
        return status

    def events(self, after: int, *, idle_s: float = STREAM_IDLE_S) -> Iterator[dict[str, Any] | None]:
        """The run's events since `after`; None as a heartbeat. Ends after `idle_s` seconds of silence."""
        for event in self.browser.events("/api/finalize/events", after, idle_s=idle_s):
            if event is not None and event.get("step") == "https":
                self._listen(event)
            yield event

    def start(self) -> dict[str, Any]:
        return self._json(self.browser.post_json("/api/finalize", {}))

    def retry(self, step_id: str | None = None) -> dict[str, Any]:
        return self._json(
            self.browser.post_json("/api/finalize/retry", {"step_id": step_id} if step_id else {})
        )

    def reset(self, *, force: bool = False) -> dict[str, Any]:
        return self._json(self.browser.post_json("/api/finalize/reset", {"force": True} if force else {}))

    def validate(self) -> dict[str, Any]:
        return self._json(self.browser.get("/api/validation-output"))

    def backup(self) -> str:
        """The answers, encrypted under the admin's signature."""
        reply = self.browser.get("/api/finalize/config")
        if reply.status != 200:
            self._json(reply)
        return reply.text.strip()

    def finish(self, *, reboot: bool) -> None:
        """End the wizard: its routes vanish, so the session is of no more use."""
        self._json(self.browser.post_json("/api/reboot" if reboot else "/api/complete", {}))
        self._saved.forget()

    def _json(self, reply: Reply) -> dict[str, Any]:
        if reply.status == 401 or reply.path == "/login":
            raise _login_needed()
        document = reply.json()
        if reply.status >= 400:
            rest = {key: value for key, value in document.items() if key not in ("error", "hint")}
            raise WorkerError(
                printable(str(document.get("error") or _("refused (HTTP %d)") % reply.status)),
                code="running" if reply.status == 409 and "run_id" in document else "",
                hint=printable(str(document.get("hint") or "")),
                data=rest,
            )
        return document

    def _listen(self, step: Mapping[str, Any]) -> None:
        data = step.get("data")
        if isinstance(data, Mapping) and isinstance(data.get("fingerprint"), str):
            self._announce(data["fingerprint"])
            self._saved.save(self.browser.cookies, self._announced)

    def _announce(self, pin: str) -> None:
        try:
            parse_fingerprint(pin)
        except BlockhostError:
            return
        self.pins.announce(pin)
        if pin not in self._announced:
            self._announced.append(pin)


def _refusal(section: str, reply: Reply) -> PageRefused:
    return PageRefused(section, tuple(read_page(reply.text).complaints), reply.status)


def _login_needed() -> NotLoggedIn:
    return NotLoggedIn(
        _("the session has ended, or there was none"),
        hint=_("Log in with --otp and the code on the console (`blockhost-otp` there makes a new one)"),
    )
