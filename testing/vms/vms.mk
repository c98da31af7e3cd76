.PHONY: test-vms
test-vms: deps venv ## Machines for real: libvirt and QEMU under emulation, three guests, their whole life
	mkdir -p build/test-reports
	BLOCKHOST_CREATE_KILLS=50 $(VENV)/bin/python -m pytest -q --timeout=1800 \
	  plugins/provisioner-libvirt/tests/test_libvirt_kills.py
	flock /tmp/blockhost-vms.lock $(VENV)/bin/python -m pytest -q -s -m vm -p no:randomly \
	  --junitxml=build/test-reports/vms.xml testing/vms
