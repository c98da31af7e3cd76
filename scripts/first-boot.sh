#!/bin/sh
# Runs what first boot still lacks; blockhost-firstboot.service does the same at boot.
set -eu
cd "${BLOCKHOST_HOME:-/usr/lib/blockhost}"
exec /usr/bin/python3 -m installer.firstboot "$@"
