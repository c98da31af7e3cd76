# The step `finalize` enables and starts the panel: before that there is no operator to log in.
override_dh_installsystemd:
	dh_installsystemd --no-enable --no-start blockhost-admin.service
