#!/bin/bash
# `make test-vm [CASE=bios|uefi|all]`: builds the testing ISO and sets it up in QEMU.
set -euo pipefail
cd "$(dirname "$0")/../.."

case=${1:-bios}
case $case in
  bios | uefi) pattern=test_vm_$case ;;
  all) pattern=test_vm ;;
  *) echo "CASE is bios, uefi or all, not '$case'" >&2; exit 2 ;;
esac
mkdir -p build/test-reports
exec .venv/bin/python -m pytest -q -s -m vm -k "$pattern" --junitxml=build/test-reports/vm.xml testing/vm
