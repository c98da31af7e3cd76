#!/bin/sh
# Print the path of an unpacked, up-to-date root file system, exactly as the ISO carries it.
# Takes build-iso.sh's options, --path is accepted and means nothing more. The directory is shared: run
# containers on it with an overlay (systemd-nspawn --volatile=overlay, or an overlay mount).
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
if [ "${1:-}" = --path ]; then shift; fi
if [ $# = 0 ]; then set -- --backend libvirt --engine local --testing --build-deb; fi
exec "$top/scripts/build-iso.sh" --rootfs "$@"
