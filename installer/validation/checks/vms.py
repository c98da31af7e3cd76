"""Checks of virtual machines: the provisioner answers, and has what it was configured with."""

from __future__ import annotations

import json
from collections.abc import Iterator

from blockhost.checks import Check, CheckContext, Finding
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.i18n import ngettext
from blockhost.provisioner import failure, get_provisioner


def checks() -> Iterator[Check]:
    yield Check(
        "VM-LIST-01",
        _("the provisioner lists its virtual machines"),
        _list,
        fix=N_("Run the provisioner's list command by hand; it says what it lacks"),
    )


def _list(context: CheckContext) -> Finding:
    done = get_provisioner().run("list", ["--format", "json"], timeout=120)
    if done.code != 0:
        return Finding(ok=False, evidence=str(failure("list", done)))
    machines = json.loads(done.stdout)
    count = len(machines)
    evidence = ngettext("%(count)d virtual machine", "%(count)d virtual machines", count) % {"count": count}
    return Finding(ok=isinstance(machines, list), evidence=evidence)
