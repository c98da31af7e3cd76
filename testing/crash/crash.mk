CRASH := PYTHONPATH=packages/common:plugins/engine-local:plugins/provisioner-libvirt:scripts:. \
	  $(VENV)/bin/python -m testing.crash

.PHONY: test-crash
test-crash: venv ## Kill the worker at every state-changing call, and cut the power at every write
	$(CRASH)
	$(VENV)/bin/python -m pytest -q -m crash --timeout=1200 testing/crash -k "not sample and not planted"

.PHONY: test-errors
test-errors: venv ## Have every write of the worker and its steps fail: full, dying, read-only disk (ERRORS=--every-errno)
	$(CRASH) --errors $(ERRORS)
