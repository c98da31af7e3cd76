"""`scripts/run-appliance [--answers FILE] [--fresh] [--iso FILE]`, as `make run` calls it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance_runner.card import Card
from appliance_runner.follow import Follower
from appliance_runner.place import Place
from blockhost.command import stream
from blockhost.errors import BlockhostError, CommandFailed
from testing.vm.qemu import Machine, VirtualMachine, free_port

TOP = Path(__file__).resolve().parents[2]
RUN_DIR = TOP / "build/run"
ISO = TOP / "build/blockhost.iso"
SSH_KEY = TOP / "build/testing-ssh-key"
INSTALL_TIMEOUT_S = 1800.0
CARD_TIMEOUT_S = 900.0
APPLY_TIMEOUT_S = 3600.0
HTTPS, HTTP, SSH = 443, 80, 22


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    answers: Path | None
    fresh: bool
    iso: Path | None
    memory_mib: int
    until: str


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 stopped by the user or done, 1 failed."""
    options = _parse(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` shuts the VM down as Ctrl-C does
    started = time.monotonic()
    vm: VirtualMachine | None = None
    try:
        if options.answers and not options.answers.is_file():
            raise BlockhostError(f"{options.answers}: no such answers file")
        place = Place(RUN_DIR)
        vm = _prepare(options, place)
        card = _bring_up(vm, place)
        _print_card(vm, card, time.monotonic() - started)
        if options.answers and card.code:
            _apply(vm, card, options.answers)
        if options.until == "stopped":
            _wait(vm)
    except BlockhostError as error:
        print(f"run-appliance: {error}", file=sys.stderr)
        if error.hint:
            print(f"run-appliance: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    finally:
        if vm is not None:
            _stop(vm)
    return 0


def _parse(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="run-appliance", description="Run the appliance in a VM, from the ISO on."
    )
    parser.add_argument("--answers", type=Path, help="take the setup to its end with these answers")
    parser.add_argument("--fresh", action="store_true", help="install anew on an empty disk")
    parser.add_argument("--iso", type=Path, help="this ISO instead of one built from the tree")
    parser.add_argument("--memory", type=int, default=3072, help="MiB of memory (default 3072)")
    parser.add_argument(
        "--until", choices=("ready", "stopped"), default="stopped",
        help="ready: shut down once the card (with answers: the setup) is there",
    )  # fmt: skip
    found = parser.parse_args(argv)
    return Options(
        answers=found.answers,
        fresh=found.fresh or os.environ.get("FRESH") == "1",
        iso=found.iso,
        memory_mib=found.memory,
        until=found.until,
    )


def _prepare(options: Options, place: Place) -> VirtualMachine:
    """The VM, with an ISO to install from if its disk needs one."""
    iso = None
    if options.fresh or not place.is_installed():
        iso = options.iso or _build_iso()
        place.start_over()
    else:
        _say(f"Using the machine in {place.directory} (FRESH=1 installs anew).")
    forwards = {HTTPS: free_port(8443), HTTP: free_port(8080), SSH: free_port(2222)}
    machine = Machine(disk=place.disk, iso=iso, memory_mib=options.memory_mib, forwards=forwards)
    vm = VirtualMachine(machine, place.directory, name="run")
    if not vm.kvm.usable:
        _say(f"Without KVM ({vm.kvm.reason}): emulating, about ten times slower.")
    return vm


def _build_iso() -> Path:
    argv: list[str | Path] = [
        TOP / "scripts/build-iso.sh",
        "--backend",
        "libvirt",
        "--engine",
        "local",
        "--testing",
    ]
    stream([*argv, "--build-deb"], _say, timeout=7200)
    return ISO.resolve()


def _bring_up(vm: VirtualMachine, place: Place) -> Card:
    """Power on; install if the VM has a medium; then read the card."""
    vm.start()
    follower = Follower(vm, _say)
    if vm.machine.iso is not None:
        _say("Installing; nothing is asked and nothing is downloaded.")
        follower.until_installed(INSTALL_TIMEOUT_S)
        place.mark_installed()
        follower.forget()
        _say("Installed. The machine starts from its disk now.")
    return follower.until_card(CARD_TIMEOUT_S)


def _print_card(vm: VirtualMachine, card: Card, seconds: float) -> None:
    forwards = vm.machine.forwards
    url = vm.url(f"/#{card.code}" if card.code else "/")
    rows = [
        ("Address", f"https://{card.address}/ (inside the VM's network)"),
        ("Fingerprint", f"SHA256 {card.fingerprint}"),
        ("Code", card.code or "none: setup is complete"),
        ("Browser", url),
        ("SSH", f"ssh -i {SSH_KEY.relative_to(TOP)} -p {forwards[SSH]} root@127.0.0.1"),
        ("Serial log", str(vm.log)),
        ("Stop", f"Ctrl-C here, or: kill {os.getpid()}"),
    ]
    _say("")
    for name, value in rows:
        _say(f"  {name:<12} {value}")
    _say(f"  {'Took':<12} {seconds:.0f} s")
    _say("")


def _apply(vm: VirtualMachine, card: Card, answers: Path) -> None:
    """Do what a browser would do, with the answers of a file."""
    paths = ("packages/common", "plugins/engine-local", "plugins/provisioner-libvirt", ".")
    python_path = ":".join(str(TOP / path) for path in paths)
    argv: list[str | Path] = [
        "/usr/bin/python3", "-m", "installer.setup_cli", "apply", "--url", vm.url().rstrip("/"),
        "--fingerprint", card.fingerprint, "--otp", "-", "--generate-key", answers.resolve(),
    ]  # fmt: skip
    try:
        stream(
            argv, _say, timeout=APPLY_TIMEOUT_S, stdin=f"{card.code}\n", cwd=TOP,
            env={"PYTHONPATH": python_path, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    except CommandFailed as error:
        raise BlockhostError(
            "the setup did not complete", hint=f"Its messages are above; the VM's are in {vm.log}"
        ) from error
    _say("setup complete")


def _wait(vm: VirtualMachine) -> None:
    """Until the VM ends by itself or the user interrupts."""
    _say("The machine runs. Ctrl-C shuts it down.")
    while vm.running:
        time.sleep(0.5)
    _say("The machine has switched itself off.")


def _stop(vm: VirtualMachine) -> None:
    if vm.running:
        _say("Shutting the machine down …")
        try:
            if not vm.shut_down():
                _say("It did not go down in time and was switched off; its disk is as after a power cut.")
        except KeyboardInterrupt:
            vm.power_cut()
            _say("Switched off at once.")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
