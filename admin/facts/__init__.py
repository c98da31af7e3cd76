"""What the panel reads from the host. Reading never waits and never needs root."""
