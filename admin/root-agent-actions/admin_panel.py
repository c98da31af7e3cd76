"""What the admin panel has root do: move the panel's path, name the machine."""

from __future__ import annotations

from dataclasses import replace

from blockhost import nginx_site
from blockhost.command import run
from blockhost.config_files import ADMIN, update_config
from blockhost.errors import RootAgentError
from blockhost.i18n import gettext as _
from blockhost.nginx_layout import FinalSite
from blockhost.root_agent.action import action
from blockhost.root_agent.values import HostName, PathPrefix


@action(resource="nginx", is_slow=True)
def admin_path_update(path_prefix: PathPrefix) -> None:
    """Serve the panel elsewhere. nginx proves the new path first; a kill before the last line is mended
    by calling again."""
    site = nginx_site.current_site()
    if not isinstance(site, FinalSite):
        raise RootAgentError(_("the final site is not live yet"), hint=_("Finish the setup first"))
    if site.path_prefix != path_prefix:
        nginx_site.activate(replace(site, path_prefix=str(path_prefix)))
    update_config(ADMIN, {"path_prefix": str(path_prefix)})


@action(resource="hostname")
def hostname_set(name: HostName) -> None:
    """Name the machine; setting it twice is not an error."""
    run(["hostnamectl", "hostname", "--", name])


ACTIONS = {"admin-path-update": admin_path_update, "hostname-set": hostname_set}
