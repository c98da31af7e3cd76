"""Step `nginx`: the final site, tested whole and switched by one rename; it still carries the
wizard's routes, so that the last page can show how validation went."""

from __future__ import annotations

from pathlib import Path

from blockhost.config_files import ADMIN, HTTPS, read_config
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.nginx_site import FinalSite, activate, is_live, site_dir
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Change, Step
from installer.finalize.steps.https import certificate_names


def final_site() -> FinalSite:
    """The site that https.json and admin.json ask for."""
    https = read_config(HTTPS)
    prefix = read_config(ADMIN).get("path_prefix", "/admin") if ADMIN.path.exists() else "/admin"
    return FinalSite(
        cert_file=Path(https["cert_file"]),
        key_file=Path(https["key_file"]),
        host_names=tuple(certificate_names(https["hostname"])),
        path_prefix=prefix,
        wizard=True,
    )


def run(context: StepContext) -> None:
    context.progress(0.2, _("testing the new site"))
    activate(final_site())


def is_served(context: StepContext) -> bool:
    return HTTPS.path.exists() and is_live(final_site())


def describe(context: StepContext) -> list[Change]:
    return [
        Change("file", str(site_dir() / "current"), _("signup page at /, administration at /admin/")),
        Change("unit", "nginx.service", _("reload")),
    ]


STEP = Step(
    "nginx", N_("Web server"), apply=run, check=is_served, plan=describe, expect_s=(0, 5), timeout_s=120
)
