"""Step `packages`: what the ISO brought is installed, and the root agent answers.

The ISO's image has the packages installed already; this verifies it, and repairs it from the
image's own pool, offline.
"""

from __future__ import annotations

import pwd
import shutil
from collections.abc import Iterable
from pathlib import Path

from blockhost import command, paths
from blockhost.errors import RootAgentError, StepFailed
from blockhost.files import make_dir
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline import Change, Step, StepContext
from blockhost.root_agent import RootAgentConnectionError, call

USER = "blockhost"
#: dpkg may run for minutes on a slow disk; so may whoever holds its lock.
DPKG_TIMEOUT_S = 900.0


def host_pool() -> Path:
    """The packages for this host, as the ISO brought them."""
    return paths.state_dir() / "packages" / "host"


def template_pool() -> Path:
    """The packages for VM templates, as the ISO brought them."""
    return paths.state_dir() / "packages" / "template"


def template_packages() -> Path:
    """Where provisioners look for what goes into a template."""
    return paths.state_dir() / "template-packages"


def run(context: StepContext) -> None:
    if missing := not_installed(host_pool().glob("*.deb")):
        _install(context, missing)
    _offer_template_packages()
    if not has_user():
        raise StepFailed(
            _("the user {user} does not exist").format(user=USER),
            hint=_("Run systemd-sysusers, then restart"),
        )
    if not agent_answers():
        context.log("starting the root agent")
        command.probe(["systemctl", "start", "blockhost-root-agent.service"])


def is_done(_context: StepContext) -> bool:
    templates = {deb.name for deb in template_pool().glob("*.deb")}
    offered = {deb.name for deb in template_packages().glob("*.deb")}
    complete = templates <= offered and has_user() and agent_answers()
    return complete and not not_installed(host_pool().glob("*.deb"))


def describe(_context: StepContext) -> list[Change]:
    return [Change("package", deb.name) for deb in not_installed(host_pool().glob("*.deb"))]


def not_installed(debs: Iterable[Path]) -> list[Path]:
    """Those that dpkg does not have installed, in this version."""
    return [deb for deb in sorted(debs) if not _is_installed(*_name_and_version(deb))]


def has_user() -> bool:
    """The services' user; a dry run has no users of its own."""
    if paths.is_dry_run():
        return True
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def agent_answers() -> bool:
    """True when the root agent answers on its socket: a refusal is an answer."""
    try:
        call("ping", timeout=10)
    except RootAgentConnectionError:
        return False
    except RootAgentError:
        return True
    return True


def _name_and_version(deb: Path) -> tuple[str, str]:
    shown = command.run(["dpkg-deb", "--show", "--showformat=${Package} ${Version}", deb]).split()
    return shown[0], shown[1]


def _is_installed(package: str, version: str) -> bool:
    done = command.probe(["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", package])
    return done.code == 0 and done.stdout.split() == ["installed", version]


def _install(context: StepContext, debs: list[Path]) -> None:
    context.log(f"installing {', '.join(deb.name for deb in debs)}")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    # What a power cut left half-configured is finished first (dpkg(1), --configure).
    context.stream(["dpkg", "--configure", "-a"], timeout=DPKG_TIMEOUT_S, env=environment)
    context.stream(["dpkg", "--install", *debs], timeout=DPKG_TIMEOUT_S, env=environment)


def _offer_template_packages() -> None:
    make_dir(template_packages(), mode=0o755)
    for deb in sorted(template_pool().glob("*.deb")):
        target = template_packages() / deb.name
        if not target.exists():
            partial = target.with_name(f".{deb.name}.partial")
            shutil.copyfile(deb, partial)
            partial.rename(target)


STEP = Step(
    "packages",
    N_("Check the packages"),
    apply=run,
    check=is_done,
    plan=describe,
    hint=N_("See systemctl status blockhost-root-agent and dpkg --audit"),
    expect_s=(0, 30),
    timeout_s=2000,
)
