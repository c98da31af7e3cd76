"""Named facts that should hold, before install, after it, and on any later day."""

from blockhost.checks.check import Check, CheckContext, Finding, Severity
from blockhost.checks.report import Report, run_checks

__all__ = ["Check", "CheckContext", "Finding", "Report", "Severity", "run_checks"]
