"""Checks of the firewall: it stands, it comes back after a restart, and it drops what is not listed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from blockhost import command
from blockhost.checks import Check, CheckContext, Finding
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from installer.validation.checks.services import is_up

UNIT = "blockhost-firewall.service"
CHAIN = ("inet", "blockhost", "input")
FIX = N_("systemctl enable blockhost-firewall; systemctl restart blockhost-firewall")


def checks() -> Iterator[Check]:
    yield Check(
        "FW-UP-01",
        _("%(unit)s runs, and starts at boot") % {"unit": UNIT},
        lambda _context: is_up(UNIT),
        fix=FIX,
    )
    yield Check("FW-DROP-02", _("what is not listed cannot reach this host"), _drops, fix=FIX)


def _drops(context: CheckContext) -> Finding:
    """The kernel's rules, not their file: whoever flushed or changed them since is found out."""
    name = " ".join(CHAIN)
    done = command.probe(["nft", "-j", "list", "chain", *CHAIN])
    if done.code != 0:
        return Finding(ok=False, evidence=_("there is no chain %(name)s") % {"name": name})
    items = json.loads(done.stdout)["nftables"]
    chains = [item["chain"] for item in items if "chain" in item]
    rules = [item["rule"]["expr"] for item in items if "rule" in item]
    if [(chain.get("hook"), chain.get("policy")) for chain in chains] != [("input", "drop")]:
        policy = chains[0].get("policy", "none") if chains else "none"
        return Finding(ok=False, evidence=_("%(name)s: policy %(policy)s") % {"name": name, "policy": policy})
    if any(_lets_all_in(rule) for rule in rules):
        return Finding(ok=False, evidence=_("%(name)s has a rule that accepts everything") % {"name": name})
    return Finding(
        ok=True, evidence=_("%(name)s: policy drop, %(count)d rules") % {"name": name, "count": len(rules)}
    )


def _lets_all_in(rule: list[Mapping[str, Any]]) -> bool:
    verdicts = [key for statement in rule for key in statement if key != "counter"]
    return verdicts == ["accept"]
