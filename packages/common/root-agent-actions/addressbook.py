"""Saving the addressbook."""

from __future__ import annotations

from blockhost.config_files import ADDRESSBOOK, write_config
from blockhost.root_agent.action import action
from blockhost.root_agent.values import AddressBook


@action(resource="addressbook")
def addressbook_save(entries: AddressBook) -> None:
    """Replace the addressbook by these entries."""
    write_config(ADDRESSBOOK, dict(entries))


ACTIONS = {"addressbook-save": addressbook_save}
