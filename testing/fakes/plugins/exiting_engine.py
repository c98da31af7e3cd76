"""An engine that ends the process on import. For tests only."""

import sys

sys.exit(3)
