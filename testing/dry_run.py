"""The whole product on a laptop, without root: real code, recorded programs at its edges.

`make dry-run` shows the console card in this terminal; tests use `DryRun` as a fixture. Wizard,
worker, root agent, panel and nginx are the real ones, in a temporary root; programs that would
change the machine (ip, systemctl, virsh, …) are the recorded fakes in testing/fakes/bin.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import Popen

TOP = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(TOP / "packages/common"), str(TOP)]

from blockhost import command  # noqa: E402
from blockhost.errors import BlockhostError  # noqa: E402

CODE_PATHS = ("packages/common", "plugins/engine-local", "plugins/provisioner-libvirt", "scripts", ".")
FAKES = TOP / "testing/fakes/bin"
#: Modules that run beside each other, and the socket or port file that shows each is up.
PROGRAMS = {
    "init": (str(TOP / "testing/fakes/init.py"),),
    "agent": ("-m", "blockhost.root_agent"),
    "worker": ("-m", "installer.finalize.worker"),
    "wizard": ("-m", "installer.web"),
}
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 10.0


class DryRun:
    """One temporary appliance. Use as a context manager: everything it started ends with it."""

    def __init__(self, root: Path | None = None) -> None:
        self._keep = root is not None
        self.root = root or Path(tempfile.mkdtemp(prefix="blockhost-dry-run-"))
        self.https_port, self.http_port, self.admin_port = free_ports(3)
        self.processes: dict[str, Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.https_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What every process of this dry run gets."""
        return {
            "BLOCKHOST_DRY_RUN": "1",
            "BLOCKHOST_ROOT": str(self.root),
            "BLOCKHOST_PATH": f"{self.root}/usr/bin:{FAKES}:{command.APPLIANCE_PATH}",
            "BLOCKHOST_HTTPS_PORT": str(self.https_port),
            "BLOCKHOST_HTTP_PORT": str(self.http_port),
            "BLOCKHOST_ADMIN_PORT": str(self.admin_port),
            "BLOCKHOST_PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join(str(TOP / part) for part in CODE_PATHS),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> DryRun:
        self.prepare()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if not self._keep:
            shutil.rmtree(self.root, ignore_errors=True)

    def prepare(self) -> None:
        """Lay out the root as the packages would."""
        for path, mode in DIRECTORIES.items():
            (self.root / path).mkdir(parents=True, exist_ok=True)
            (self.root / path).chmod(mode)
        for package, recipe in recipes().items():
            for source, target in recipe.get("trees", {}).items():
                if target.startswith("/usr/share/blockhost/"):
                    _lay(TOP / source.format(package=package), self.root / target.lstrip("/"))
        self._write_launchers()
        self._carry_template()

    def _carry_template(self) -> None:
        """An empty disk in the place of the image that the ISO carries: nothing boots here."""
        image = self.root / "var/lib/blockhost/template/blockhost-vm.qcow2"
        if not image.exists():
            command.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"])
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        image.with_name(f"{image.name}.sha256").write_text(f"{digest}  {image.name}\n")

    def _write_launchers(self) -> None:
        """The commands that packages put in /usr/bin, as their own packaging describes them."""
        for name, module in launchers().items():
            path = self.root / "usr/bin" / name
            text = (
                f"#!{sys.executable}\nimport sys\nfrom {module} import main\n"
                f"sys.argv[0] = {name!r}\nsys.exit(main())\n"
            )
            path.write_text(text)
            path.chmod(0o755)

    def first_boot(self) -> None:
        """Run the first-boot steps to their end.

        Raises:
            CommandFailed: a step failed.
        """
        self.run("-m", "installer.firstboot", timeout=120)

    def run(self, *arguments: str, timeout: float = 60, stdin: str | None = None) -> str:
        """Run one of our modules to its end and return its stdout."""
        return command.run(
            [sys.executable, *arguments], env=self.environment, timeout=timeout, cwd=TOP, stdin=stdin
        )

    def start(self, *names: str) -> None:
        """Start programs (default: all) and wait until each answers."""
        for name in names or PROGRAMS:
            log = (self.root / "var/log" / f"{name}.log").open("ab")
            with log:
                self.processes[name] = command.start(
                    [sys.executable, *PROGRAMS[name]],
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    cwd=TOP,
                )
        for name in names or PROGRAMS:
            self.wait_for(lambda name=name: self._answers(name), f"{name} did not come up", name)

    def ask_wizard(self, path: str) -> tuple[int, str]:
        """One request to the wizard's own socket, past nginx: status and body."""
        return ask(self.root / "run/blockhost-wizard/wizard.sock", path)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End one program the hard way."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(STOP_DEADLINE_S)

    def stop(self) -> None:
        """End everything that was started, nginx included."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(STOP_DEADLINE_S)
            except Exception:
                command.kill_group(process)
                process.wait()
        self.processes.clear()
        for pid_file in (self.root / "run").glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(pid_file.read_text())
                os.kill(pid, signal.SIGTERM)
                _wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), STOP_DEADLINE_S)

    def wait_for(self, condition: Callable[[], bool], complaint: str, name: str = "") -> None:
        """Wait for a condition; when it does not come, say why with the program's last words."""
        process = self.processes.get(name)

        def settled() -> bool:
            return condition() or (process is not None and process.poll() is not None)

        if not _wait_until(settled, START_DEADLINE_S) or not condition():
            log = self.root / "var/log" / f"{name}.log"
            tail = log.read_text(errors="replace")[-3000:] if log.is_file() else ""
            raise BlockhostError(f"{complaint}\n{tail}")

    def _answers(self, name: str) -> bool:
        places = {
            "init": "run/fake-init.sock",
            "agent": "run/blockhost/root-agent.sock",
            "worker": "run/blockhost-setup/worker.sock",
            "wizard": "run/blockhost-wizard/wizard.sock",
        }
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.root / places[name]))
            except OSError:
                return False
        return True


DIRECTORIES = {
    "etc/blockhost": 0o750,
    "etc/nginx/sites-enabled": 0o755,
    "etc/systemd/network": 0o755,
    "run/blockhost": 0o750,
    "run/blockhost-setup": 0o750,
    "run/blockhost-wizard": 0o750,
    "usr/bin": 0o755,
    "usr/share/blockhost/root-agent-actions": 0o755,
    "usr/share/blockhost/hooks": 0o755,
    "var/lib/blockhost/packages/host": 0o755,
    "var/lib/blockhost/template": 0o755,
    "var/lib/blockhost-setup": 0o700,
    "var/lib/nginx": 0o755,
    "var/log/nginx": 0o755,
    "var/www/blockhost": 0o755,
}


def recipes() -> dict[str, dict[str, dict[str, str]]]:
    """Package folder -> how its package is laid out, as its own build.toml says."""
    files = [*TOP.glob("*/debian/build.toml"), *TOP.glob("*/*/debian/build.toml")]
    return {str(file.parents[1].relative_to(TOP)): tomllib.loads(file.read_text()) for file in sorted(files)}


def launchers() -> dict[str, str]:
    """Command name -> the module whose `main` it calls."""
    return {
        name: target.partition(":")[0]
        for recipe in recipes().values()
        for name, target in recipe.get("launchers", {}).items()
    }


def free_ports(count: int) -> list[int]:
    """Ports that are free now; asked for together, so they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


def ask(place: Path, path: str) -> tuple[int, str]:
    """GET over a Unix socket: status and body."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(place))
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read().decode()


@contextlib.contextmanager
def dry_run(root: Path | None = None) -> Iterator[DryRun]:
    """A dry run after first boot, with all its programs up."""
    with DryRun(root) as machine:
        machine.start("init", "agent")
        machine.first_boot()
        machine.start("worker", "wizard")
        yield machine


def _lay(source: Path, target: Path) -> None:
    """Copy a file or a folder to where its package would put it; what is already there is replaced."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dry-run", description="Run the whole product without root.")
    parser.add_argument("--root", type=Path, help="keep the appliance's files here (default: temporary)")
    parser.add_argument("--once", action="store_true", help="print the card once and stop")
    options = parser.parse_args(argv)
    try:
        with dry_run(options.root) as machine:
            print(f"Dry run in {machine.root}\nOpen {machine.url} (Ctrl-C stops it)\n", flush=True)
            argv = ["-m", "installer.console", *(["--once"] if options.once else [])]
            card = command.start(
                [sys.executable, *argv], env=machine.environment, stdin=None, stdout=None, cwd=TOP
            )
            card.wait()
    except KeyboardInterrupt:
        print("\nstopped")
    except BlockhostError as error:
        print(f"dry-run: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
