"""An engine that cannot be imported. For tests only."""

raise RuntimeError("the plugin's own library is missing")
