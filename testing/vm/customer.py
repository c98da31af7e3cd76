"""Somebody with an SSH key who rents a machine from an appliance."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from blockhost import command
from blockhost.errors import CommandFailed
from testing.vm.appliance import Appliance
from testing.vm.ci_client import wait_until
from testing.vms.host import keypair

#: The machine is emulated inside an emulated host.
MADE_S = 1200.0
LOGIN_S = 300.0
#: What ssh(1) says while cloud-init still sets up the server there.
NOT_YET = ("Connection closed", "Connection reset", "Connection refused", "timed out")


class Customer:
    """Uses what a customer has: a key, ssh(1) and age(1)."""

    def __init__(self, directory: Path, name: str) -> None:
        self.key = keypair(directory, name)
        self.fingerprint = fingerprint(self.key)
        self.known_hosts = directory / f"{name}-known-hosts"

    def subscribes(self, appliance: Appliance, plan: str) -> str:
        """The operator takes the public key at the till; the subscription's number."""
        words = ["blockhost-local", "grant", "-", "--plan", plan, "--days", "30"]
        return appliance.ssh(*words, stdin=self.key.with_suffix(".pub").read_text()).strip()

    def details(self, appliance: Appliance, number: str) -> dict[str, str]:
        """Where the machine is, once it is there: sealed for this key, and read with it."""

        def sealed() -> str | None:
            words = ["blockhost-local", "show", number, "--format", "json"]
            shown: dict[str, Any] = json.loads(appliance.ssh(*words))
            job = shown["job"] or {}
            assert job.get("status") != "parked", shown
            assert not job.get("note"), shown
            return shown["details"] if job.get("status") == "settled" else None

        # Each question takes a second or two from the one processor that host and guest share.
        text = wait_until(sealed, MADE_S, "the machine", pause=15)
        opened: dict[str, str] = json.loads(command.run(["age", "--decrypt", "-i", self.key], stdin=text))
        return opened

    def log_in(self, appliance: Appliance, details: dict[str, str], line: str) -> str:
        """Run a line there, once its SSH answers.

        Raises:
            CommandFailed: it is not let in.
        """

        def said() -> tuple[str] | None:
            try:
                return (self._ssh(appliance, details, line),)
            except CommandFailed as error:
                if any(words in error.stderr for words in NOT_YET):
                    return None
                raise

        (text,) = wait_until(said, LOGIN_S, "a login", pause=2)
        return str(text)

    def _ssh(self, appliance: Appliance, details: dict[str, str], line: str) -> str:
        """Through the appliance; the host key must be the one in the details."""
        self.known_hosts.write_text(details["known_hosts"] + "\n")
        options = {
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self.known_hosts,
            "ConnectTimeout": 120,
            "LogLevel": "ERROR",
            "ProxyCommand": shlex.join(appliance.ssh_words()[:-1]) + " -W %h:%p root@127.0.0.1",
        }
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        target = f"{details['user']}@{details['ip']}"
        return command.run(["ssh", "-F", "none", *flags, target, line], timeout=LOGIN_S)


def fingerprint(key: Path) -> str:
    """By which engine-local knows the owner of a key."""
    return command.run(["ssh-keygen", "-lf", key.with_suffix(".pub")]).split()[1]
