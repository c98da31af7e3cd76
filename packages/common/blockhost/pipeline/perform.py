"""One attempt at one step, inside whatever process it runs in."""

from __future__ import annotations

import copy
import json
import traceback
from typing import Any

from blockhost.errors import BlockhostError, StepFailed
from blockhost.i18n import gettext as _
from blockhost.os_errors import explained
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.runner import Report
from blockhost.pipeline.step import Step


def perform(step: Step, context: StepContext) -> Report:
    """Check, apply, check again; what the step raises becomes the report's error."""
    before = copy.deepcopy(context.config)
    try:
        skipped = step.check is not None and step.check(context)
        if not skipped:
            step.apply(context)
            if step.check is not None and not step.check(context):
                raise StepFailed(_("the step ran, but did not take effect"), hint=step.hint)
        return Report(data=context.data, config=_changes(before, context.config), skipped=skipped)
    except BlockhostError as error:
        return Report(error=str(error) or type(error).__name__, hint=error.hint)
    except Exception as error:
        for line in traceback.format_exc().splitlines():
            context.log(line)
        if isinstance(error, OSError) and (known := explained(error)):
            return Report(error=str(known), hint=known.hint)
        return Report(
            error=_("internal error (%(kind)s), see the step's log") % {"kind": type(error).__name__}
        )


def _changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The top-level keys that a step set or changed."""
    changed = {
        key: value
        for key, value in after.items()
        if not key.startswith("_") and (key not in before or before[key] != value)
    }
    try:
        json.dumps(changed, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StepFailed(
            _("the step left something in the configuration that is not JSON: %(error)s") % {"error": error}
        ) from None
    return changed
