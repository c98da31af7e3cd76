"""Fixtures of the wizard's tests: a whole wizard with test plugins and a fake worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from installer.discovery import discover
from installer.web.app import create_app
from installer.web.facts import HostFacts
from installer.web.sessions import COOKIE
from installer.web.wizard import Wizard
from testing.fakes.plugins import manifests
from testing.fakes.worker import CODE, FakeWorker

ADDRESS = "0x" + "1b" * 20
SIGNATURE = "0x" + "7" * 90 + ADDRESS[2:]

PAGES = {
    "wallet": {"admin_wallet": ADDRESS, "admin_signature": SIGNATURE, "public_secret": "blockhost-access"},
    "network": {"method": "dhcp"},
    "storage": {"disk": "vda"},
    "legacychain": {"rpc_url": "https://rpc.example", "deployer_key": "k-e-y"},
    "plain": {},
    "ipv6": {"ipv6_mode": "none"},
    "admin-commands": {"admin_enabled": "no"},
}


class Site:
    """One wizard under test: `client` speaks as nginx would, from a browser's point of view."""

    def __init__(self, tmp_path: Path, worker: FakeWorker) -> None:
        self.worker = worker
        self.session_dir = tmp_path / "run/blockhost-wizard/sessions"
        self.wizard = Wizard(
            plugins=discover(),
            worker=worker,
            host=HostFacts(worker),
            session_dir=self.session_dir,
        )
        self.app = create_app(self.wizard)
        self.client = self.new_client()
        self.session_id = ""

    def twin(self, session_id: str = "") -> FlaskClient:
        """Another client that sends this session's cookie (or the one given)."""
        cookie = f"{COOKIE}={session_id or self.session_id}"
        return self.new_client(use_cookies=False, HTTP_COOKIE=cookie)

    def new_client(self, *, use_cookies: bool = True, **environ: str) -> FlaskClient:
        client = self.app.test_client(use_cookies=use_cookies)
        client.environ_base |= {
            "wsgi.url_scheme": "https",
            "HTTP_HOST": "192.0.2.10",
            "HTTP_X_FORWARDED_PROTO": "https",
            "HTTP_X_FORWARDED_FOR": "192.0.2.99",
            **environ,
        }
        return client

    def log_in(self) -> str:
        """Log `client` in; the new session's id."""
        answer = self.client.post("/login", data={"otp": CODE}, base_url="https://192.0.2.10")
        assert answer.status_code == 303, answer.text
        self.session_id = answer.headers["Set-Cookie"].split(";")[0].split("=")[1]
        return self.session_id

    def answer_all(self) -> None:
        self.answer(*PAGES)

    def answer(self, *pages: str) -> None:
        """Post these pages with answers that are accepted."""
        for page in pages:
            reply = self.client.post(f"/wizard/{page}", data=PAGES[page], base_url="https://192.0.2.10")
            assert reply.status_code in (302, 303), (page, reply.text)

    def get(self, path: str, **more: Any) -> Any:
        return self.client.get(path, base_url="https://192.0.2.10", **more)

    def post(self, path: str, **more: Any) -> Any:
        return self.client.post(path, base_url="https://192.0.2.10", **more)

    def sessions(self) -> list[dict[str, Any]]:
        """What lies in the session files."""
        if not self.session_dir.is_dir():
            return []
        return [json.loads(file.read_text()) for file in self.session_dir.iterdir()]


SiteMaker = Callable[..., Site]


@pytest.fixture
def install_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put manifests where packages would; `None` installs none."""
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    monkeypatch.syspath_prepend(str(manifests.HERE))

    def install(engine: Any, provisioner: Any) -> None:
        share = tmp_path / "usr/share/blockhost"
        share.mkdir(parents=True, exist_ok=True)
        for name, manifest in (("engine", engine), ("provisioner", provisioner)):
            if manifest is not None:
                text = manifest if isinstance(manifest, str) else json.dumps(manifest)
                (share / f"{name}.json").write_text(text)

    return install


@pytest.fixture
def make_site(tmp_path: Path, install_plugins: Callable[..., None]) -> SiteMaker:
    """Makes a wizard with the given manifests; without any, with two that work."""

    def make(engine: Any = "legacy", provisioner: Any = "plain") -> Site:
        if engine == "legacy":
            engine = manifests.engine("legacychain", "legacy_engine")
        if provisioner == "plain":
            provisioner = manifests.provisioner("plain", "plain_provisioner")
        install_plugins(engine, provisioner)
        return Site(tmp_path, FakeWorker())

    return make


@pytest.fixture
def site(make_site: SiteMaker) -> Site:
    """A wizard with working plugins; nobody has logged in."""
    return make_site()


@pytest.fixture
def open_site(site: Site) -> Site:
    """The same, logged in."""
    site.log_in()
    return site
