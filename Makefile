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
