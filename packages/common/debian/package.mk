# During first boot the agent must answer already, and the firewall stand before there is a network, so
# both are enabled and started like any daemon.
override_dh_installsystemd:
	dh_installsystemd blockhost-root-agent.service blockhost-firewall.service
