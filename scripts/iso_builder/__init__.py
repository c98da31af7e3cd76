"""Builds the installer ISO: an image of Debian's packages with ours on top, and d-i to put it on a disk."""
