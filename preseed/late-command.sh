#!/bin/sh
# The last thing before the reboot; d-i's own log is in /target/var/log/installer by now.
chmod 0700 /target/var/log/installer
blockhost-say "INSTALL OK, rebooting into the installed system"
exit 0
