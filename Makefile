# Every supported target, with its purpose: `make help`.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON := /usr/bin/python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: deps
deps: ## Install what building and testing need (Debian packages)
	scripts/check-build-deps.sh --install

.PHONY: venv
venv: $(VENV)/.made ## Make the test environment on Debian's own Python and libraries

$(VENV)/.made: pyproject.toml
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(VENV)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["test"], sep="\n")' \
	  | $(VENV)/bin/pip install -q -r /dev/stdin
	touch $@

-include scripts/iso.mk
-include testing/crash/crash.mk
-include testing/vms/vms.mk
-include testing/agent/agent.mk

PYTEST := $(VENV)/bin/python -m pytest

.PHONY: check
check: venv ## Lint, types and unit tests: needs neither root nor network
	$(PYTEST) -q packages plugins installer admin testing/unit

.PHONY: test
test: deps venv ## Everything but the VM: unit, integration, browser, a sample of crash points
	testing/run.sh

.PHONY: test-vm
test-vm: deps venv ## Install the ISO in QEMU and drive it over HTTPS (CASE=bios|uefi)
	testing/vm/run.sh $(or $(CASE),bios)

.PHONY: dry-run
dry-run: venv ## Start the whole product without root, in a temporary root
	$(VENV)/bin/python testing/dry_run.py

.PHONY: bench
bench: venv ## Measure against the limits, as ratios in one run (BENCH="rebuild power_on" for the slow ones)
	PYTHONPATH=packages/common:plugins/engine-local:plugins/provisioner-libvirt:scripts:. \
	  $(VENV)/bin/python -m testing.bench $(BENCH)

.PHONY: docs
docs: venv ## Write the reference pages that the code can write
	PYTHONPATH=packages/common:plugins/engine-local:plugins/provisioner-libvirt:scripts:. $(VENV)/bin/python -m reference_docs
