#!/bin/sh
# Removes from a root file system what belongs to one machine, to the building machine, or to nobody.
# $1: the root.
set -eu
root=$1

: > "$root/etc/machine-id"
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/apt/sources.list.d/* "$root/var/lib/systemd/random-seed"
rm -f "$root"/var/lib/dpkg/*-old "$root"/var/cache/debconf/*-old "$root/var/cache/ldconfig/aux-cache"
find "$root/var/log" "$root/var/cache/apt" "$root/var/lib/apt/lists" -type f -delete
rm -rf "$root"/tmp/* "$root"/run/*

echo "LANG=C.UTF-8" > "$root/etc/default/locale" # without it pam_env warns at each login
rm -f "$root/etc/resolv.conf"
ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
chroot "$root" usermod --lock root
