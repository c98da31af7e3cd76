"""The worker's protocol: one function for each command of its socket.

A request is `{"command": …}`, the answer `{"ok": true, …}` or `{"ok": false, "error", "hint",
"code"}`. What a peer may know is decided here; secrets go in and do not come out, except by
`export` to root.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

from blockhost import codes, command, nginx_site, paths
from blockhost.errors import AnswerError, BlockhostError, CommandFailed, FieldError, WorkerError
from blockhost.fields import Fields, suggest
from blockhost.framing import Peer
from blockhost.i18n import gettext as _
from blockhost.manifest import load_engine, load_provisioner
from blockhost.os_errors import explained
from blockhost.secret import Secret
from installer.answers import ADMIN_SIGNATURE, resolve_secrets, split_secrets
from installer.finalize import run
from installer.finalize.host_facts import host_facts
from installer.finalize.run import Command, StepInfo
from installer.finalize.supervisor import Supervisor
from installer.finalize.throttle import Throttle
from installer.vault import Vault

log = logging.getLogger(__name__)

#: Time for the answer to travel before the wizard's routes and services end.
GOODBYE_S = 2.0

Answer = dict[str, Any]


class Commands:
    """What the socket offers; every method takes the fields of its request."""

    def __init__(self, supervisor: Supervisor, vault: Vault) -> None:
        self._supervisor = supervisor
        self._vault = vault
        self._throttle = Throttle()
        self._offered: Mapping[str, Callable[[Fields], Answer]] = {
            "login": self.login,
            "keep": self.keep,
            "kept": self.kept,
            "plan": self.plan,
            "start": self.start,
            "status": self.status,
            "retry": self.retry,
            "reset": self.reset,
            "action": self.action,
            "validate": self.validate,
            "backup": self.backup,
            "restore": self.restore,
            "export": self.export,
            "complete": self.complete,
            "reboot": self.reboot,
            "host": self.host,
        }

    def handle(self, request: object, peer: Peer) -> Answer:
        """Answer one request; whatever goes wrong becomes a refusal, never a traceback."""
        try:
            fields = Fields(request, source="request")
            name = fields.take("command", str)
            function = self._offered.get(name)
            if function is None:
                meant = suggest(name, self._offered)
                raise WorkerError(
                    _("there is no command %r") % name,
                    code="unknown-command",
                    hint=_("Did you mean %r?") % meant if meant else "",
                )
            if (
                name == "export"
                and peer.uid not in (0, os.geteuid())
                and fields.optional("secrets", bool, False)
            ):
                raise WorkerError(_("only root may export secrets"), code="forbidden")
            return {"ok": True, **function(fields)}
        except BlockhostError as error:
            return self._refusal(error)
        except Exception as error:
            log.exception("a request failed")
            if isinstance(error, OSError) and (known := explained(error)):
                return self._refusal(known)
            return {"ok": False, "error": _("internal error, see the log"), "hint": "", "code": "internal"}

    # --- the operator's identity and secrets -------------------------------------------------

    def login(self, fields: Fields) -> Answer:
        guess, source = fields.take("otp", str), fields.optional("source", str, "")
        fields.refuse_unknown()
        if wait := self._throttle.wait_s(source):
            return {"outcome": "wait", "wait_s": round(wait, 1)}
        outcome = codes.verify(guess[:64])
        if outcome is codes.Outcome.ACCEPTED:
            self._throttle.succeeded(source)
        else:
            self._throttle.failed(source, compared=outcome is codes.Outcome.WRONG)
        answer: Answer = {"outcome": outcome.value, "wait_s": round(self._throttle.wait_s(source), 1)}
        return answer | ({"attempts_left": codes.attempts_left()} if outcome is codes.Outcome.WRONG else {})

    def keep(self, fields: Fields) -> Answer:
        name, value = fields.take("name", str), fields.take("value", str)
        fields.refuse_unknown()
        self._vault.keep(name, value)
        return {"name": name}

    def kept(self, fields: Fields) -> Answer:
        fields.refuse_unknown()
        return {"names": self._vault.names()}

    # --- the run -------------------------------------------------------------------------------

    def plan(self, fields: Fields) -> Answer:
        answers = fields.take("answers", dict)
        fields.refuse_unknown()
        steps, digest = self._planned(self._configured(answers), self._supervisor.describe())
        return {"steps": steps, "hash": digest}

    def start(self, fields: Fields) -> Answer:
        answers, wanted = fields.take("answers", dict), fields.optional("plan", str, "")
        fields.refuse_unknown()
        self._refuse_if_running()
        config, steps = self._configured(answers), self._supervisor.describe()
        digest = ""
        if wanted:
            _steps, digest = self._planned(config, steps)
            if digest != wanted:
                raise WorkerError(
                    _("the plan has changed since it was confirmed"),
                    code="plan-changed",
                    hint=_("Look at the summary again"),
                    data={"hash": digest},
                )
        header = self._supervisor.start(answers, config, steps, digest)
        return {"run_id": header.run_id, "status": run.RunStatus.RUNNING.value}

    def status(self, fields: Fields) -> Answer:
        fields.refuse_unknown()
        return self._supervisor.status()

    def retry(self, fields: Fields) -> Answer:
        step_id = fields.optional("step_id", str, "")
        fields.refuse_unknown()
        header = self._supervisor.retry(step_id)
        return {"run_id": header.run_id, "status": run.RunStatus.RUNNING.value}

    def reset(self, fields: Fields) -> Answer:
        force = fields.optional("force", bool, False)
        fields.refuse_unknown()
        self._supervisor.reset(force=force)
        return {"status": "reset"}

    def action(self, fields: Fields) -> Answer:
        """A plugin's setup action. Secrets that it made come back apart and go to the vault."""
        name, params = fields.take("name", str), fields.optional("params", dict, {})
        answers = fields.optional("answers", dict, {})
        fields.refuse_unknown()
        self._refuse_if_running()
        result = self._supervisor.call("act", {"name": name, "params": params}, config=answers)
        for secret, value in dict(result.pop("_secrets", {})).items():
            self._vault.keep(str(secret), str(value))
        return {"result": result}

    def validate(self, fields: Fields) -> Answer:
        fields.refuse_unknown()
        view = self._supervisor.view()
        config = dict(view.header.config) if view.header else {}
        for record in view.records:
            config |= record.config
        report = self._supervisor.call(
            "installer.validation.report:in_child", {}, config=config, timeout_s=300.0
        )
        return {"success": report["success"], "output": report["output"], "report": report["report"]}

    # --- answers out and in --------------------------------------------------------------------

    def backup(self, fields: Fields) -> Answer:
        """The answers encrypted under the admin signature; once that is wiped, the copy made before."""
        answers = fields.optional("answers", dict, {}) or self._answers_of_the_run()
        fields.refuse_unknown()
        if ADMIN_SIGNATURE not in self._vault.names() and run.backup_file().exists():
            return {"ciphertext": run.backup_file().read_text().strip()}
        plaintext = json.dumps(self._vault.resolve(answers), sort_keys=True)
        return {"ciphertext": self._supervisor.call("encrypt", {"plaintext": plaintext})["ciphertext"]}

    def restore(self, fields: Fields) -> Answer:
        """The answers of a backup; its secrets go to the vault and come back as references."""
        signature, ciphertext = fields.take("signature", str), fields.take("ciphertext", str)
        fields.refuse_unknown()
        self._refuse_if_running()
        extra = {"restore_signature": Secret(signature)}
        opened = self._supervisor.call("decrypt", {"ciphertext": ciphertext.strip()}, extra=extra)
        public, found = split_secrets(opened["answers"], load_engine(), load_provisioner())
        for name, secret in found.items():
            self._vault.keep(name, secret)
        return {"answers": public}

    def export(self, fields: Fields) -> Answer:
        secrets = fields.optional("secrets", bool, False)
        fields.refuse_unknown()
        answers = self._answers_of_the_run()
        return {"answers": self._vault.resolve(answers) if secrets else answers}

    # --- the end -------------------------------------------------------------------------------

    def complete(self, fields: Fields) -> Answer:
        """The wizard ends: its routes vanish, its units do not come back."""
        fields.refuse_unknown()
        view = self._supervisor.view()
        run.require(Command.COMPLETE, view.status, view.run_id)
        _later(_end_setup)
        return {"status": "completed"}

    def reboot(self, fields: Fields) -> Answer:
        fields.refuse_unknown()
        self._refuse_if_running()
        complete = self._supervisor.view().status is run.RunStatus.COMPLETED

        def goodbye() -> None:
            if complete:
                _close_wizard()
            _ask_systemd("reboot")

        _later(goodbye)
        return {"status": "rebooting"}

    def host(self, fields: Fields) -> Answer:
        fields.refuse_unknown()
        return {
            **host_facts(),
            "testing": paths.is_testing(),
            "setup_complete": run.complete_marker().exists(),
            "site": type(nginx_site.current_site()).__name__,
        }

    # --- parts ---------------------------------------------------------------------------------

    def _refuse_if_running(self) -> None:
        view = self._supervisor.view()
        if view.running:
            run.require(Command.START, view.status, view.run_id)

    def _configured(self, answers: Mapping[str, Any]) -> dict[str, Any]:
        missing = sorted(_references(answers) - {*self._vault.names()})
        if missing:
            raise WorkerError(
                _("the secret %r was not given") % missing[0],
                code="missing-secret",
                hint=_("Answer its page again"),
                data={"names": missing},
            )
        config: dict[str, Any] = self._supervisor.call("configure", {"answers": answers})["config"]
        return config

    def _planned(
        self, config: Mapping[str, Any], infos: tuple[StepInfo, ...]
    ) -> tuple[list[dict[str, Any]], str]:
        """Every step with the changes it announces, and the hash of all of it."""
        steps = []
        for info in infos:
            try:
                changes = self._supervisor.call("changes", {"step_id": info.id}, config=config)["changes"]
                problem = ""
            except BlockhostError as error:  # a broken plan costs its own step
                changes, problem = [], str(error)
            steps.append(
                {
                    "id": info.id,
                    "label": info.label,
                    "hint": info.hint,
                    "irreversible": info.irreversible,
                    "expect_s": list(info.expect_s),
                    "changes": changes,
                    "problem": problem,
                }
            )
        return steps, plan_hash(steps)

    def _answers_of_the_run(self) -> dict[str, Any]:
        header = run.load_header()
        if header is None:
            raise WorkerError(_("the setup has not been started"), code="not-started")
        return dict(header.answers)

    def _refusal(self, error: BlockhostError) -> Answer:
        refusal = {"ok": False, "error": str(error), "hint": error.hint, "code": getattr(error, "code", "")}
        if isinstance(error, WorkerError):
            return {**error.data, **refusal}
        if isinstance(error, AnswerError):
            refusal |= {"code": "answer", "field": error.field}
        elif isinstance(error, FieldError):
            refusal |= {"code": "bad-request"}
        return refusal


def plan_hash(steps: list[dict[str, Any]]) -> str:
    """What the operator confirms: sha256 of the canonical JSON of what each step will change."""
    announced = [[step["id"], step["changes"]] for step in steps]
    return hashlib.sha256(
        json.dumps(announced, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ).hexdigest()


def _references(answers: Any) -> set[str]:
    """The names of all secrets that these answers refer to."""
    names: set[str] = set()

    def note(name: str) -> Secret:
        names.add(name)
        return Secret("")

    resolve_secrets(answers, note)
    return names


def _later(act: Callable[[], None]) -> None:
    """After the answer has been sent: what it ends may carry it."""

    def acted() -> None:
        try:
            act()
        except BlockhostError:
            log.exception("the end of the setup met an error")

    timer = threading.Timer(GOODBYE_S, acted)
    timer.daemon = True
    timer.start()


def _end_setup() -> None:
    _close_wizard()
    # This process, too: root needs no socket for a setup that is over.
    _ask_systemd("stop", "blockhost-worker.service")


def _close_wizard() -> None:
    nginx_site.without_wizard()
    command.run(["systemctl", "disable", "--now", "blockhost-wizard.service"])


def _ask_systemd(*verb: str) -> None:
    """Queue what ends this very service; the program that asked may be stopped along with it."""
    done = command.probe(["systemctl", "--no-block", *verb])
    if done.code not in (0, -signal.SIGTERM):
        raise CommandFailed("systemctl", done.code, done.stderr)
