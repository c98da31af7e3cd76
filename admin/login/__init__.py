"""Logging in: a challenge for one browser, signed by the administrator, becomes a session."""
