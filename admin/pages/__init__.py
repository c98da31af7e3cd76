"""The panel's pages and their APIs."""
