"""Step `template`: the image that the ISO carried becomes the one that machines start from."""

from __future__ import annotations

from blockhost.errors import BlockhostError, StepFailed
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Change, Step
from blockhost.provisioner_libvirt.steps.answered import answered
from blockhost.provisioner_libvirt.template import carried_image, import_template, imported_volume


def run(context: StepContext) -> None:
    try:
        volume = import_template(context.progress)
    except BlockhostError as error:
        raise StepFailed(str(error), hint=error.hint) from error
    context.result({"volume": volume})


def is_in_place(context: StepContext) -> bool:
    """Its result, too: a run that died behind the import has no other way to it."""
    volume = imported_volume()
    if volume:
        context.result({"volume": volume})
    return bool(volume)


def describe(context: StepContext) -> list[Change]:
    image = carried_image()
    size = f"{image.stat().st_size // 1_000_000} MB" if image.is_file() else _("size unknown")
    return [Change("file", f"{answered(context).storage_path}/blockhost-template-….qcow2", size)]


STEP = Step(
    "template",
    N_("Image for virtual machines"),
    apply=run,
    check=is_in_place,
    plan=describe,
    expect_s=(1, 60),
    timeout_s=900,
)
