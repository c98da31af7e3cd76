# The setup's step `monitor` enables and starts it: before that there is no ledger to watch.
override_dh_installsystemd:
	dh_installsystemd --no-enable --no-start blockhost-monitor.service
