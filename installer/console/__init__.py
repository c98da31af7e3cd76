"""The card on the host's own screen and serial line: where to go, what to compare, what to type."""
