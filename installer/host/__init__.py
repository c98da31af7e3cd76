"""Read-only facts about the machine: disks, interfaces, the install medium, what can be reached."""
