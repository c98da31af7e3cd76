"""Step `tls`: a certificate of the host's own authority, for every name and address it has now."""

from __future__ import annotations

from blockhost.files import make_dir
from blockhost.i18n import gettext_noop as N_
from blockhost.paths import config_dir
from blockhost.pipeline import Change, Step, StepContext
from installer.tls import local_ca
from installer.tls.names import own_names


def run(context: StepContext) -> None:
    if not config_dir().is_dir():
        make_dir(config_dir(), mode=0o750, group="blockhost")
    certificate = local_ca.ensure_certificate(own_names())
    context.result({"fingerprint": certificate.fingerprint})


def is_done(_context: StepContext) -> bool:
    return local_ca.is_current(own_names())


def describe(_context: StepContext) -> list[Change]:
    return [Change("file", str(local_ca.tls_dir() / "server.crt"))]


STEP = Step(
    "tls", N_("Make a certificate"), apply=run, check=is_done, plan=describe, expect_s=(0, 5), timeout_s=120
)
