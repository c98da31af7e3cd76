"""The order of the pages, and which of them may be opened.

A page is reachable when those before it are answered. Whether one is answered is read from the
session, never stored twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blockhost.i18n import gettext_noop as N_
from blockhost.plugin_api import PluginKind
from installer.discovery import RESERVED_NAMES, Manifest, Plugins


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the wizard; `keys` are the session keys that its answer sets."""

    id: str
    label: str
    keys: tuple[str, ...]
    is_broken: bool = False

    @property
    def endpoint(self) -> str:
        """`wizard_network` and the like: fixed names, which plugins redirect to."""
        return "wizard_" + self.id.replace("-", "_")

    @property
    def url(self) -> str:
        return f"/wizard/{self.id}"

    def is_answered(self, session: Mapping[str, Any]) -> bool:
        return bool(self.keys) and all(key in session for key in self.keys)


class Flow:
    """The pages of one wizard, in order."""

    def __init__(self, plugins: Plugins) -> None:
        self.pages = (
            Page("wallet", N_("Wallet"), ("admin_wallet", "admin_signature")),
            Page("network", N_("Network"), ("network",)),
            Page("storage", N_("Storage"), ("selected_disk",)),
            _plugin_page(plugins, "engine", N_("Engine")),
            _plugin_page(plugins, "provisioner", N_("Provisioner")),
            Page("ipv6", N_("IPv6"), ("ipv6",)),
            Page("admin-commands", N_("Admin commands"), ("admin_commands",)),
            Page("summary", N_("Summary"), ()),
        )
        self._by_id = {page.id: page for page in self.pages}

    def page(self, step_id: str) -> Page | None:
        """The page with this id; older plugins write `admin_commands`."""
        return self._by_id.get(step_id) or self._by_id.get(step_id.replace("_", "-"))

    def next_url(self, step_id: str) -> str:
        """Where an answered page leads."""
        return self.nav(step_id)["next"]

    def nav(self, step_id: str) -> dict[str, str]:
        """The pages before and after; the ends lead to the page itself."""
        page = self.page(step_id)
        if page is None:
            return {"prev": "/", "next": "/"}
        index = self.pages.index(page)
        after = self.pages[min(index + 1, len(self.pages) - 1)]
        return {"prev": self.pages[max(index - 1, 0)].url, "next": after.url}

    def first_unanswered(self, session: Mapping[str, Any]) -> Page:
        """Where the operator goes on; the summary when nothing is missing."""
        return next((page for page in self.pages if not page.is_answered(session)), self.pages[-1])

    def blocking(self, page: Page, session: Mapping[str, Any]) -> Page | None:
        """The page that must be answered before `page`, or None where it is reachable.

        A broken plugin's page blocks the summary only: the rest can be answered meanwhile.
        """
        for earlier in self.pages[: self.pages.index(page)]:
            if earlier.is_broken and page.id != "summary":
                continue
            if not earlier.is_answered(session):
                return earlier
        return None

    def answers(self, session: Mapping[str, Any]) -> dict[str, Any]:
        """The sections of a session that the worker gets: answers, nothing of the wizard's own."""
        keys = {key for page in self.pages for key in page.keys} | {"admin_public_secret"}
        return {key: session[key] for key in sorted(keys) if key in session}


def short_name(manifest: Manifest) -> str:
    """The step bar shows a plugin's display name up to its bracket."""
    return manifest.display_name.partition("(")[0].strip() or manifest.name


def _plugin_page(plugins: Plugins, kind: PluginKind, fallback: str) -> Page:
    """The page of a plugin; where its name is unknown or taken, one named for its kind says so."""
    manifest = plugins.manifests.get(kind)
    plugin = plugins.engine if kind == "engine" else plugins.provisioner
    if plugin is not None:
        return Page(plugin.name, short_name(plugin.manifest), (plugin.manifest.session_key,))
    if manifest is None:
        return Page(kind, fallback, (), is_broken=True)
    other = plugins.manifests.get("provisioner" if kind == "engine" else "engine")
    is_taken = manifest.name in RESERVED_NAMES or (other is not None and other.name == manifest.name)
    page_id = kind if is_taken else manifest.name
    return Page(page_id, short_name(manifest), (manifest.session_key,), is_broken=True)
