"""`make run`: the appliance in a VM on this machine, from the ISO to the wizard in a browser."""
