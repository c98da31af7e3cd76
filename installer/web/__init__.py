"""The setup wizard: pages and JSON API in an unprivileged process. The worker does the work."""
