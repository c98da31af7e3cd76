"""Virtual machines in the panel: what is known of each, and what can be done with it."""
