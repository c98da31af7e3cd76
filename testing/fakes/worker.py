"""A FAKE of the setup worker, for unit tests of the wizard. It is strict: it refuses what the real
worker would refuse, and it remembers what it was asked, so a test can look.

Nothing here runs a step. Tests of what the worker does use the real one.
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from blockhost.errors import WorkerError

CODE = "ABCD2345"
MAX_GUESSES = 10

STEPS = [
    {
        "id": "ledger",
        "label": "Make the ledger",
        "hint": "",
        "irreversible": False,
        "expect_s": [0, 5],
        "changes": [{"kind": "file", "target": "/var/lib/blockhost/ledger.db", "detail": "new, empty"}],
        "problem": "",
    },
    {
        "id": "mint_nft",
        "label": "Mint the administrator's token",
        "hint": "Spends a little",
        "irreversible": True,
        "expect_s": [20, 240],
        "changes": [{"kind": "transaction", "target": "0x0", "detail": "one token"}],
        "problem": "",
    },
]

HOST = {
    "testing": False,
    "setup_complete": False,
    "site": "SetupSite",
    "names": ["192.0.2.10", "blockhost", "blockhost.local", "localhost"],
    "interfaces": [
        {
            "name": "enp1s0",
            "mac": "52:54:00:12:34:56",
            "kind": "wired",
            "carrier": True,
            "addresses": ["192.0.2.10/24", "fe80::5054:ff:fe12:3456/64"],
            "gateway": "192.0.2.1",
            "master": None,
        },
        {
            "name": "enp2s0",
            "mac": "52:54:00:12:34:57",
            "kind": "wired",
            "carrier": False,
            "addresses": [],
            "gateway": None,
            "master": None,
        },
    ],
    "disks": [
        {
            "path": "/dev/vda",
            "model": "QEMU HARDDISK",
            "serial": "QM00001",
            "size_bytes": 512110190592,
            "bus": "virtio",
            "removable": False,
            "is_install_medium": False,
            "holds_system": True,
            "contents": [{"name": "/dev/vda1", "size_bytes": 10**9, "kind": "ext4", "label": "root"}],
            "is_selectable": True,
            "is_empty": False,
        },
        {
            "path": "/dev/sdb",
            "model": "USB stick",
            "serial": "",
            "size_bytes": 16 * 10**9,
            "bus": "usb",
            "removable": True,
            "is_install_medium": True,
            "holds_system": False,
            "contents": [],
            "is_selectable": False,
            "is_empty": True,
        },
    ],
    "network": {"ip": "192.0.2.10", "gateway": "192.0.2.1", "connectivity": "gateway"},
    "boot_medium": "/dev/sdb",
    "fingerprint": ":".join(["AB"] * 32),
}


class FakeWorker:
    """Offers the methods of `WorkerClient`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.secrets: dict[str, str] = {}
        self.started: dict[str, Any] | None = None
        self.state = "pending"
        self.guesses = 0
        self.is_down = False
        self.host_facts = copy.deepcopy(HOST)
        self.steps = copy.deepcopy(STEPS)
        self.step_states: dict[str, dict[str, Any]] = {}
        self.event_list: list[dict[str, Any]] = []
        self.restored: dict[str, Any] = {}
        #: What `action` answers, by name; nothing in a network changes.
        self.actions: dict[str, dict[str, Any]] = {"network-switch": {"pending": False}}
        self._lock = threading.Lock()

    def _note(self, command: str, arguments: Any = None) -> None:
        self.calls.append((command, copy.deepcopy(arguments)))
        if self.is_down:
            raise WorkerError("The setup worker does not answer.", code="unreachable", hint="Wait.")

    def login(self, otp: str, source: str) -> dict[str, Any]:
        self._note("login", {"source": source})
        with self._lock:
            if self.guesses >= MAX_GUESSES:
                return {"outcome": "locked", "wait_s": 0}
            self.guesses += 1
            if otp.replace("-", "").replace(" ", "").upper() == CODE:
                return {"outcome": "accepted", "wait_s": 0}
            left = MAX_GUESSES - self.guesses
            return {"outcome": "wrong" if left else "locked", "wait_s": 0, "attempts_left": left}

    def keep(self, name: str, value: str) -> None:
        self._note("keep", {"name": name})
        if not isinstance(value, str) or not value:
            raise WorkerError(f"{name}: expected 1 to 65536 characters", code="")
        self.secrets[name] = value

    def kept(self) -> tuple[str, ...]:
        self._note("kept")
        return tuple(self.secrets)

    def plan(self, answers: Mapping[str, Any]) -> dict[str, Any]:
        self._note("plan", answers)
        self._check(answers)
        return {"steps": self.steps, "hash": self._hash()}

    def _hash(self) -> str:
        return hashlib.sha256(json.dumps(self.steps, sort_keys=True).encode()).hexdigest()

    def start(self, answers: Mapping[str, Any], plan: str | None = None) -> dict[str, Any]:
        self._note("start", answers)
        with self._lock:
            if self.state == "running":
                raise WorkerError("the setup is running", code="running", data={"run_id": "run-1"})
            self._check(answers)
            if plan and plan != self._hash():
                raise WorkerError("the plan has changed since it was confirmed", code="plan-changed")
            self.started = copy.deepcopy(dict(answers))
            self.state = "running"
        return {"run_id": "run-1", "status": "running"}

    def status(self) -> dict[str, Any]:
        self._note("status")
        empty = {"status": "pending", "error": None, "hint": None, "started_at": None, "completed_at": None}
        steps = {
            step["id"]: {
                **empty,
                **self.step_states.get(step["id"], {}),
                "label": step["label"],
                "expect_s": step["expect_s"],
                "irreversible": step["irreversible"],
            }
            for step in self.steps
        }
        failed = next((name for name, step in steps.items() if step["status"] == "failed"), None)
        return {
            "status": self.state,
            "run_id": None if self.state == "pending" else "run-1",
            "progress": 0 if self.state == "pending" else 40,
            "current_step": None,
            "completed_steps": [name for name, step in steps.items() if step["status"] == "completed"],
            "steps": {} if self.state == "pending" else steps,
            "failed_step": failed,
            "error": steps[failed]["error"] if failed else None,
            "hint": steps[failed]["hint"] if failed else None,
        }

    def events(self, after: int = 0, *, idle_s: float = 10.0) -> Iterator[dict[str, Any] | None]:
        self._note("events", after)
        yield from [event for event in self.event_list if event["id"] > after]
        yield None

    def retry(self, step_id: str | None = None) -> dict[str, Any]:
        self._note("retry", step_id)
        if self.state == "running":
            raise WorkerError("the setup is running", code="running", data={"run_id": "run-1"})
        if step_id and step_id not in {step["id"] for step in self.steps}:
            raise WorkerError(f"there is no step {step_id!r}", code="unknown-step")
        if step_id and self.step_states.get(step_id, {}).get("status") == "completed":
            raise WorkerError(f"the step {step_id!r} is completed", code="completed-step")
        if self.state not in ("failed", "interrupted"):
            raise WorkerError("the setup has not been started", code="not-started")
        self.state = "running"
        return {"run_id": "run-1", "status": "running"}

    def reset(self, *, force: bool = False) -> dict[str, Any]:
        self._note("reset", force)
        if self.state == "running":
            raise WorkerError("the setup is running", code="running", data={"run_id": "run-1"})
        if self.step_states.get("mint_nft", {}).get("status") == "completed" and not force:
            raise WorkerError("these steps cannot be undone: mint_nft", code="irreversible")
        self.state = "pending"
        return {"status": "reset"}

    def action(self, name: str, params: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, Any]:
        self._note("action", name)
        if name in self.actions:
            return copy.deepcopy(self.actions[name])
        raise WorkerError(f"there is no action {name!r}", code="unknown-action")

    def validate(self) -> dict[str, Any]:
        self._note("validate")
        return {"success": True, "output": "NET-DNS-02 ok", "report": {}}

    def backup(self, answers: Mapping[str, Any]) -> str:
        self._note("backup", answers)
        return "c0ffee"

    def restore(self, signature: str, ciphertext: str) -> dict[str, Any]:
        self._note("restore")
        if ciphertext != "c0ffee":
            raise WorkerError("this is not a backup", code="")
        return copy.deepcopy(self.restored)

    def export(self, *, secrets: bool = False) -> dict[str, Any]:
        self._note("export", secrets)
        return {"answers": {}}

    def host(self) -> dict[str, Any]:
        self._note("host")
        return self.host_facts

    def complete(self) -> dict[str, Any]:
        self._note("complete")
        if self.state != "completed":
            raise WorkerError("the setup is not complete", code="not-completed")
        return {"status": "completed"}

    def reboot(self) -> dict[str, Any]:
        self._note("reboot")
        return {"status": "rebooting"}

    def _check(self, answers: Mapping[str, Any]) -> None:
        """Like the real one: a secret in the clear, or one that nobody kept, is a fault."""
        signature = answers.get("admin_signature")
        if not isinstance(signature, dict) or set(signature) != {"$secret"}:
            raise AssertionError("the wizard sent a secret in the clear")
        if signature["$secret"] not in self.secrets:
            raise WorkerError("the secret 'admin_signature' was not given", code="missing-secret")
