#!/bin/sh
# Build the installer ISO: scripts/build-iso.sh --help
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH="$top/scripts:$top/packages/common" PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 -m iso_builder "$@"
