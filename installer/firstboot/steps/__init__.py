"""One first-boot step per file, each with its `STEP`."""
