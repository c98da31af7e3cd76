# Installing the package must not begin to set this machine up: the next boot does. First boot starts
# wizard and worker itself, and an upgrade leaves a run that is under way alone.
override_dh_installsystemd:
	dh_installsystemd --no-start --no-restart-after-upgrade --no-stop-on-upgrade blockhost-firstboot.service
	dh_installsystemd --no-enable --no-start --no-restart-after-upgrade --no-stop-on-upgrade blockhost-worker.service
	dh_installsystemd --no-enable --no-start blockhost-wizard.service
