#!/bin/bash
# `make test`: every suite but the VM, one after the other; says what ran and fails if any failed.
# SUITES="unit browser" runs a part; arguments go to each pytest.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

read -ra suites <<<"${SUITES:-unit integration nspawn browser crash}"
python=.venv/bin/python
reports=build/test-reports
mkdir -p "$reports"

if [ "$(id -u)" != 0 ]; then
  echo "make test boots the appliance's root file system and makes network namespaces: run it as root." >&2
  echo "Without root, 'make check' runs the rest." >&2
  exit 2
fi

pytest_suite() { # name, then pytest arguments
  local name=$1
  shift
  "$python" -m pytest -q --durations=5 --junitxml="$reports/$name.xml" "$@"
}

run_suite() {
  local name=$1
  shift
  case $name in
    unit) pytest_suite unit packages plugins installer admin testing/unit "$@" ;;
    integration) pytest_suite integration testing/integration "$@" ;;
    nspawn) pytest_suite nspawn -m nspawn --timeout=900 packages plugins installer admin testing/integration "$@" ;;
    browser) pytest_suite browser -m browser --timeout=300 testing/browser "$@" ;;
    crash) pytest_suite crash -m crash --timeout=1200 testing/crash "$@" ;;
    *) echo "unknown suite: $name" >&2; return 2 ;;
  esac
}

failed=0
summary=()
for suite in "${suites[@]}"; do
  printf '\n=== %s ===\n' "$suite"
  started=$SECONDS
  if run_suite "$suite" "$@"; then verdict=passed; else verdict=FAILED; failed=1; fi
  summary+=("$(printf '%-12s %-7s %4d s' "$suite" "$verdict" $((SECONDS - started)))")
done

printf '\nWhat ran:\n'
printf '  %s\n' "${summary[@]}"
"$python" testing/count_reports.py "$reports" "${suites[@]}" || failed=1
exit "$failed"
