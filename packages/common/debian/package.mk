# During first boot the agent must answer already, so it is enabled and started like any daemon.
override_dh_installsystemd:
	dh_installsystemd blockhost-root-agent.service
