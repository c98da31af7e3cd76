"""Reference pages written by the code that they describe; a test fails when they drift."""
