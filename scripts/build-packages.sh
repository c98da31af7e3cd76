#!/bin/sh
# Builds the appliance's packages into packages/host/ and packages/template/.
#   scripts/build-packages.sh --backend libvirt --engine local
# Debian's own Python and tools only: another python3 earlier on PATH would end up in the shebangs.
here=$(cd "$(dirname "$0")" && pwd)
PATH=/usr/sbin:/usr/bin:/sbin:/bin
BLOCKHOST_PATH=$PATH
PYTHONPATH=$here:$here/../packages/common
export PATH BLOCKHOST_PATH PYTHONPATH
exec /usr/bin/python3 -B -m deb_builder "$@"
