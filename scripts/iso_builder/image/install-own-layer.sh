#!/bin/sh
# Installs our own packages over the base image; everything that changes lands in the upper directory.
# Runs in a mount and PID namespace of its own. $1: base, $2: upper, $3: work, $4: mount point,
# $5: yes when an SSH key was given.
set -eu
base=$1
upper=$2
work=$3
root=$4
ssh=$5

mount -t overlay overlay -o "lowerdir=$base,upperdir=$upper,workdir=$work" "$root"
mount -t proc proc "$root/proc"

# The packages enable their own units. The pool lies on the appliance too: first boot verifies the packages
# and repairs them from there.
# shellcheck disable=SC2016  # expanded inside the chroot
chroot "$root" sh -c 'dpkg --force-unsafe-io --install /var/lib/blockhost/packages/host/*.deb'

# By hand: systemctl would also rewrite SysV's links, which are in the base image.
if [ "$ssh" = yes ]; then
  ln -s /usr/lib/systemd/system/ssh.service "$root/etc/systemd/system/multi-user.target.wants/ssh.service"
fi
# Nothing needs an update on the first boot: no rebuilt caches while the operator waits.
touch "$root/etc/.updated" "$root/var/.updated"

rm -f "$root"/var/log/*.log "$root"/var/log/*/*.log "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
umount "$root/proc" "$root"
