"""The commands of cli.md: exit 0 is success, stdout carries the result, stderr everything else."""
