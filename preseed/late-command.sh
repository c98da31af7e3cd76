#!/bin/sh
# The last thing before the reboot (d-i's own log is in /target/var/log/installer by now).
rm -rf /target/media/cdrom /target/media/cdrom0 /target/media/floppy /target/media/floppy0
[ -e /target/etc/default/locale ] || echo "LANG=C.UTF-8" > /target/etc/default/locale
# Partitioning left debconf answers behind; the installed system has its own.
chmod 0700 /target/var/log/installer 2> /dev/null || true
blockhost-say "INSTALL OK, rebooting into the installed system"
exit 0
