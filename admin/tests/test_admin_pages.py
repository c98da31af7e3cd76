"""The page and its API: facts of this machine, and settings that go through the agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from admin.facts.storage import storage
from admin.facts.system import system
from blockhost import root_agent
from blockhost.errors import RootAgentError

JSON = {"Accept": "application/json"}


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The agent's client, recorded; a name with a dash at its end is refused."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def call(action: str, timeout: float = 300, **params: Any) -> dict[str, Any]:
        calls.append((action, params))
        if any(str(value).endswith("-") for value in params.values()):
            raise RootAgentError("name: expected a host name")
        return {}

    monkeypatch.setattr(root_agent, "call", call)
    return calls


@pytest.fixture
def inside(browser: Any) -> Any:
    browser.log_in()
    return browser


def test_page_shows_the_machine(inside: Any) -> None:
    page = inside.get("/").text
    assert system()["hostname"] in page
    assert "does not answer" in page  # no agent runs here
    assert "/admin" in page
    assert "<script" not in page
    assert "style=" not in page  # the policy would block it


def test_api_facts(inside: Any) -> None:
    facts = inside.get("/api/system").json
    assert facts["memory_total_mb"] >= facts["memory_available_mb"] > 0
    assert facts["uptime_seconds"] > 0
    assert facts["root_agent"] is False
    assert isinstance(inside.get("/api/storage").json, list)


def test_storage_counts_each_device_once(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    here = str(tmp_path)
    mounts.write_text(
        "/dev/vda1 / ext4 rw 0 0\n/dev/vda1 /boot/a\\040b ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n"
        f"/dev/vdb /nonexistent ext4 rw 0 0\n/dev/vdc {here} ext4 rw 0 0\n"
    )
    found = storage(mounts)
    assert [entry["mountpoint"] for entry in found] == ["/", str(tmp_path)]
    assert 0 <= found[0]["used_percent"] <= 100


@pytest.mark.parametrize(
    ("path", "field", "value", "action", "param", "after"),
    [
        ("/api/system/hostname", "hostname", "box", "hostname-set", "name", "/admin/?saved=1"),
        ("/api/admin/path", "path_prefix", "/ops", "admin-path-update", "path_prefix", "/ops/"),
    ],
)
def test_settings_go_through_the_agent(
    inside: Any, agent: Any, path: str, field: str, value: str, action: str, param: str, after: str
) -> None:
    assert inside.post(path, json={field: value}).json == {"ok": True}
    reply = inside.post(path, data={field: f" {value} "})
    assert (reply.status_code, reply.location) == (303, after)
    assert agent == [(action, {param: value})] * 2


@pytest.mark.parametrize(
    ("path", "field"), [("/api/system/hostname", "hostname"), ("/api/admin/path", "path_prefix")]
)
def test_refusals_are_shown_where_they_belong(inside: Any, agent: Any, path: str, field: str) -> None:
    reply = inside.post(path, json={field: "x-"})
    assert reply.status_code == 422
    assert reply.json == {"ok": False, "error": "name: expected a host name"}
    page = inside.post(path, data={field: '"><b>x-'})
    assert page.status_code == 422
    assert f'id="{field}-error"' in page.text
    assert "<b>x" not in page.text
    assert "&gt;&lt;b&gt;x-" in page.text  # the form keeps what was typed
    for body in ({}, {field: 1}, [], "x"):
        assert inside.post(path, json=body).status_code == 400


def test_unreachable_agent_is_said(inside: Any) -> None:
    reply = inside.post("/api/system/hostname", json={"hostname": "box"})
    assert reply.status_code == 422
    assert "root agent" in reply.json["error"]


def test_path_comes_from_the_configuration(inside: Any, tmp_path: Path) -> None:
    assert inside.get("/api/admin/path").json == {"path_prefix": "/admin"}
    (tmp_path / "r/etc/blockhost/admin.json").write_text(json.dumps({"path_prefix": "/ops"}))
    assert inside.get("/api/admin/path").json == {"path_prefix": "/ops"}
