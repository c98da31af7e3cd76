"""The installer: first boot, console card, setup wizard, setup worker, validation."""
