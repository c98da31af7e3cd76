"""The provisioner's answers, as the steps read them."""

from __future__ import annotations

from blockhost.errors import AnswerError, StepFailed
from blockhost.i18n import gettext as _
from blockhost.pipeline.context import StepContext
from blockhost.provisioner_libvirt.answers import LibvirtAnswer, to_form


def answered(context: StepContext) -> LibvirtAnswer:
    """What the operator said; checked again, since an answers file may have been edited.

    Raises:
        StepFailed: names the answer that is not acceptable.
    """
    answers = context.answers.get("provisioner")
    if not isinstance(answers, dict):
        raise StepFailed(_("the provisioner's page was not answered"))
    try:
        return LibvirtAnswer.from_form(to_form(answers))
    except AnswerError as error:
        raise StepFailed(f"{error.field}: {error}", hint=_("Answer the provisioner's page again")) from error
