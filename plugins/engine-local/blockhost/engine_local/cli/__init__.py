"""The engine's commands: one module each, with `main(argv) -> exit code`."""
