"""Step `setup-site`: nginx serves the wizard, over TLS from the first byte."""

from __future__ import annotations

from blockhost import nginx_site
from blockhost.i18n import gettext_noop as N_
from blockhost.nginx_site import SetupSite
from blockhost.pipeline import Change, Step, StepContext
from installer.tls import local_ca
from installer.tls.names import own_names


def run(context: StepContext) -> None:
    nginx_site.activate(site())
    context.log("nginx serves the wizard")


def is_done(_context: StepContext) -> bool:
    # is_live asks the server: the certificate it shows is the one on disk.
    return local_ca.is_current(own_names()) and nginx_site.is_live(site())


def site() -> SetupSite:
    directory = local_ca.tls_dir()
    return SetupSite(directory / "server.crt", directory / "server.key", tuple(own_names()))


def describe(_context: StepContext) -> list[Change]:
    return [Change("file", str(nginx_site.site_dir()))]


STEP = Step(
    "setup-site",
    N_("Open the wizard's site"),
    apply=run,
    check=is_done,
    plan=describe,
    hint=N_("See systemctl status nginx"),
    expect_s=(0, 20),
    timeout_s=180,
)
