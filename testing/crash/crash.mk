.PHONY: test-crash
test-crash: venv ## Kill the worker at every state-changing call, and cut the power at every write
	PYTHONPATH=packages/common:plugins/engine-local:plugins/provisioner-libvirt:scripts:. \
	  $(VENV)/bin/python -m testing.crash
	$(VENV)/bin/python -m pytest -q -m crash --timeout=1200 testing/crash -k "not sample_of_deaths"
