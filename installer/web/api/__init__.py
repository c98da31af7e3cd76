"""The JSON API: what a browser's scripts and a CI client use. One file per area."""

from __future__ import annotations

from installer.web.api import config, finalize, health, host, power, setup_test

ROUTES = (health.api, host.api, finalize.api, config.api, power.api, setup_test.api)
