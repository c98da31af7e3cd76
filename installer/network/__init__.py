"""The host's own network: the bridge that VMs join, and changes of address that undo themselves."""
