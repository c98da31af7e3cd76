# The timer runs from the start; its service waits for the end of the setup.
override_dh_installsystemd:
	dh_installsystemd --no-enable --no-start blockhost-vm-gc.service
	dh_installsystemd blockhost-vm-gc.timer
