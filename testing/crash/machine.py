"""One machine that is killed again and again: a dry-run root that can be put back to any step."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blockhost import command, framing
from blockhost.secret import Secret
from testing.crash.tracing import go_on, is_stopped, wait_until
from testing.dry_run import TOP, DryRun
from testing.fixtures.real_answers import session
from testing.fixtures.worker_rig import descendants, is_alive

GATE = TOP / "testing/crash/gate"
WORKER = "from installer.finalize.worker import main; raise SystemExit(main([]))"
MAX_FRAME = 1024 * 1024
#: A root with its databases takes one or two.
DISK_SIZE = "32m"
_CLONE_NEWNS = 0x00020000
_libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    """A root in memory (a durable write there costs nothing; power cuts are `replay`'s subject)."""

    def __init__(self) -> None:
        parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.place = Path(tempfile.mkdtemp(prefix="blockhost-crash-", dir=parent))
        self._disk = self.place / "disk"
        self._disk.mkdir()
        self.has_own_disk = _mount_own(self._disk)
        self.run = DryRun(self._disk / "root")
        self.root = self.run.root
        self.gates = self.place / "gates"
        self.environment = {
            **os.environ,
            **self.run.environment,
            "BLOCKHOST_GATE_DIR": str(self.gates),
            "BLOCKHOST_FAKE_INIT": str(self.place / "init.sock"),
        }
        self.environment["PYTHONPATH"] = f"{GATE}:{self.environment['PYTHONPATH']}"
        #: A defect that workers are started with: see `gate`.
        self.plant = ""
        self.secrets: dict[str, Secret] = {}
        self.worker: subprocess.Popen[bytes] | None = None
        self._init: subprocess.Popen[bytes] | None = None

    # --- making it -------------------------------------------------------------------------

    def build(self) -> dict[str, Any]:
        """Prepare the root, do first boot, hand over the secrets; the answers that start a run."""
        self.run.prepare()
        os.environ.update(
            {key: value for key, value in self.environment.items() if key.startswith("BLOCKHOST_")}
        )
        self._init = subprocess.Popen(
            [sys.executable, str(TOP / "testing/fakes/init.py")],
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )
        wait_until((self.place / "init.sock").exists, "the fake init listens")
        self.run.start("agent")
        subprocess.run(
            [sys.executable, "-m", "installer.firstboot"], env=self.environment, cwd=TOP, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        public, self.secrets = session(self.place / "owner-key")
        self.start()
        self.listening()
        for name, secret in self.secrets.items():
            answer = self.ask("keep", name=name, value=secret.reveal())
            assert answer is not None
            assert answer["ok"], answer
        self.kill()
        self.keep("base")
        return public

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.kill()
        with contextlib.suppress(Exception):
            self._nginx("stop")
        for process in (self._init, *self.run.processes.values()):
            if process is not None:
                process.kill()
                process.wait()
        self._end_strays()
        if self.has_own_disk:
            subprocess.run(["umount", "--lazy", str(self._disk)], check=False)
        shutil.rmtree(self.place, ignore_errors=True)

    def _end_strays(self) -> None:
        """Whoever names our directory on its command line was started by us."""
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(self.place).encode() in file.read_bytes():
                    os.kill(int(file.parent.name), signal.SIGKILL)

    # --- time travel -----------------------------------------------------------------------

    def keep(self, name: str) -> None:
        """Remember how the root is now."""
        target = self.place / "kept" / name
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(exist_ok=True)
        _copy(self.root, target)

    def put_back(self, name: str) -> None:
        """The root as it was, with nginx running as it then did."""
        self._nginx("stop")
        # The agent is not what gets killed here: it lives on, and so does its socket.
        agent, aside = self.root / "run/blockhost/root-agent.sock", self._disk / "agent.sock"
        agent.rename(aside)
        shutil.rmtree(self.root)
        _copy(self.place / "kept" / name, self.root)
        aside.rename(agent)
        (self.root / "run/nginx.pid").unlink(missing_ok=True)
        shutil.rmtree(self.gates, ignore_errors=True)
        self.gates.mkdir()
        self._nginx("start")

    def _nginx(self, verb: str) -> None:
        subprocess.run(
            [str(TOP / "testing/fakes/bin/systemctl"), verb, "nginx.service"],
            env={**self.environment, "BLOCKHOST_UNRECORDED": "1"}, check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def fill(self) -> None:
        """Leave no byte on the machine's disk."""
        assert self.has_own_disk
        with self._filler().open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(65536)):
                pass

    def repair(self) -> None:
        """What the operator does about a full disk."""
        self._filler().unlink(missing_ok=True)

    def _filler(self) -> Path:
        return self._disk / "filler"

    # --- the worker ------------------------------------------------------------------------

    def start(self, *gates: str) -> None:
        """Start a worker that stops at these gates, and wait until it listens."""
        environment = {
            **self.environment,
            "BLOCKHOST_GATE": ",".join(gates),
            "BLOCKHOST_PLANT": self.plant,
        }
        self.gates.mkdir(exist_ok=True)
        with (self.root / "worker.log").open("ab") as log:
            self.worker = command.start(
                [sys.executable, "-c", WORKER], env=environment, stdout=log, stderr=log, cwd=TOP
            )

    def listening(self) -> None:
        wait_until(lambda: self.ask("status") is not None, "the worker answers")

    @contextlib.contextmanager
    def held(self, gate: str) -> Iterator[tuple[int, int]]:
        """The process that stopped at a gate: its pid and thread; it goes on afterwards."""
        note = self.gates / gate
        wait_until(note.exists, f"gate {gate}")
        pid, tid = (int(word) for word in note.read_text().split())
        wait_until(lambda: is_stopped(tid), f"stop at {gate}")
        try:
            yield pid, tid
        finally:
            with contextlib.suppress(ProcessLookupError):
                go_on(pid)

    def ask(self, command: str, **arguments: Any) -> dict[str, Any] | None:
        """One request; None while nobody listens."""
        socket = self.root / "run/blockhost-setup/worker.sock"
        try:
            return framing.call(socket, {"command": command, **arguments}, timeout=30, max_bytes=MAX_FRAME)
        except Exception:
            return None

    def kill(self) -> None:
        """End the worker with everything below it, as a lost machine would."""
        if self.worker is None:
            return
        family = [self.worker.pid, *descendants(self.worker.pid)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.worker.wait()
        self.worker = None
        wait_until(lambda: not any(is_alive(pid) for pid in family), "its processes are gone")

    def log(self) -> str:
        file = self.root / "worker.log"
        return file.read_text()[-2000:] if file.exists() else ""


def _mount_own(place: Path) -> bool:
    """A small disk that only this process and its children see; False where we may not mount."""
    if _libc.unshare(_CLONE_NEWNS) != 0:
        return False
    tmpfs = ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "none", str(place)]
    return all(
        subprocess.run(argv, capture_output=True, check=False).returncode == 0
        for argv in (["mount", "--make-rprivate", "/"], tmpfs)
    )


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)
