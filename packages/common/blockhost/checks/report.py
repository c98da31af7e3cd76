"""Running checks and telling what they found, for people and for programs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from blockhost.checks.check import Check, CheckContext, Finding, Severity
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.i18n import ngettext

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """One check with what it found."""

    check: Check
    finding: Finding

    @property
    def mark(self) -> str:
        if self.finding.ok:
            return "ok"
        return "FAIL" if self.check.severity is Severity.ERROR else "warn"


@dataclass(frozen=True, slots=True)
class Report:
    """All results, in the order of the checks."""

    results: tuple[Result, ...]

    @property
    def success(self) -> bool:
        """True when no check of severity error failed."""
        return all(r.finding.ok or r.check.severity is not Severity.ERROR for r in self.results)

    def failed(self) -> list[Result]:
        return [r for r in self.results if not r.finding.ok and r.check.severity is Severity.ERROR]

    def as_json(self) -> dict[str, Any]:
        return {
            "success": self.success,
            "checks": [
                {
                    "id": r.check.id,
                    "label": _(r.check.label),
                    "severity": r.check.severity.value,
                    "ok": r.finding.ok,
                    "evidence": r.finding.evidence,
                    "fix": "" if r.finding.ok or not r.check.fix else _(r.check.fix),
                }
                for r in self.results
            ],
        }

    def as_text(self) -> str:
        width = max((len(r.check.id) for r in self.results), default=0)
        lines = []
        for r in self.results:
            evidence = f": {r.finding.evidence}" if r.finding.evidence else ""
            lines.append(f"{r.mark:4}  {r.check.id:{width}}  {_(r.check.label)}{evidence}")
            if not r.finding.ok and r.check.fix:
                lines.append(f"      {'':{width}}  -> {_(r.check.fix)}")
        bad = len(self.failed())
        count = len(self.results)
        total = ngettext("%(count)d check, %(bad)d failed", "%(count)d checks, %(bad)d failed", count)
        lines.append(total % {"count": count, "bad": bad})
        return "\n".join(lines) + "\n"


def run_checks(checks: Iterable[Check], context: CheckContext | None = None) -> Report:
    """Run every check; one that raises has failed, the others still run."""
    context = context or CheckContext()
    return Report(tuple(Result(check, _look(check, context)) for check in checks))


def _look(check: Check, context: CheckContext) -> Finding:
    try:
        return check.probe(context)
    except (BlockhostError, OSError) as error:
        return Finding(ok=False, evidence=str(error))
    except Exception as error:
        log.exception("check %s failed itself", check.id)
        return Finding(
            ok=False, evidence=_("the check itself failed (%(kind)s)") % {"kind": type(error).__name__}
        )
