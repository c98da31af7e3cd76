#!/bin/sh
# Turns freshly installed Debian packages into the appliance's base image. $1: the root, $2: host name.
# Nothing of BlockHost itself is in this layer, so that it changes only when Debian's packages do.
set -eu
root=$1
name=$2

cp -R "$(dirname "$0")/base-files/." "$root/"

# What belongs to one machine, or to the building machine.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/apt/sources.list.d/* "$root"/etc/hostname
rm -f "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old "$root"/var/lib/systemd/random-seed
: > "$root/etc/machine-id"
echo "# Offline appliance: no package source." > "$root/etc/apt/sources.list"
rm -f "$root/etc/resolv.conf"
ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"

# d-i would have asked; without it pam_env warns at each login.
echo "LANG=C.UTF-8" > "$root/etc/default/locale"
echo "$name" > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost ip6-localhost ip6-loopback\n' "$name" > "$root/etc/hosts"
chroot "$root" usermod --lock root

# nginx serves only sites of ours; the package's own welcome page is none.
rm -f "$root/etc/nginx/sites-enabled/default"

chroot "$root" systemctl --quiet enable systemd-networkd systemd-resolved systemd-timesyncd nginx avahi-daemon
chroot "$root" systemctl --quiet disable ssh.service apt-daily.timer apt-daily-upgrade.timer
# Without a cable this would hold up the boot, nginx included, for two minutes; first boot waits by itself.
chroot "$root" systemctl --quiet mask systemd-networkd-wait-online.service
# The console card is what stands on these screens.
chroot "$root" systemctl --quiet disable getty@tty1.service || true
chroot "$root" systemctl --quiet mask serial-getty@ttyS0.service getty@tty1.service
# tty2 to tty6 have no login either: no account has a password.
mkdir -p "$root/etc/systemd/logind.conf.d"
printf '[Login]\nNAutoVTs=0\nReserveVT=0\n' > "$root/etc/systemd/logind.conf.d/blockhost.conf"

find "$root/var/log" -type f -delete
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/ldconfig/aux-cache "$root"/tmp/* "$root"/run/*
