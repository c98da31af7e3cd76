#!/bin/sh
# Turns freshly installed Debian packages into the appliance's base image. $1: the root, $2: host name.
# Nothing of BlockHost itself is in this layer, so that it changes only when Debian's packages do.
set -eu
root=$1
name=$2

cp -R "$(dirname "$0")/base-files/." "$root/"

echo "# Offline appliance: no package source." > "$root/etc/apt/sources.list"
echo "$name" > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost ip6-localhost ip6-loopback\n' "$name" > "$root/etc/hosts"

# nginx serves only sites of ours; the package's own welcome page is none.
rm -f "$root/etc/nginx/sites-enabled/default"

chroot "$root" systemctl --quiet enable systemd-networkd systemd-resolved systemd-timesyncd nginx avahi-daemon
chroot "$root" systemctl --quiet disable ssh.service apt-daily.timer apt-daily-upgrade.timer
# Checks of LVM snapshots that nobody makes, and a record of failed boots that the boot menu does not use.
chroot "$root" systemctl --quiet disable e2scrub_reap.service e2scrub_all.timer grub-common.service
# Without a cable this would hold up the boot, nginx included, for two minutes; first boot waits by itself.
chroot "$root" systemctl --quiet mask systemd-networkd-wait-online.service
# It would open further ways to sshd, on sockets that nobody asked for.
mkdir -p "$root/etc/systemd/system-generators"
ln -s /dev/null "$root/etc/systemd/system-generators/systemd-ssh-generator"
# tty2 to tty6 have no login either: no account has a password.
mkdir -p "$root/etc/systemd/logind.conf.d"
printf '[Login]\nNAutoVTs=0\nReserveVT=0\n' > "$root/etc/systemd/logind.conf.d/blockhost.conf"

"$(dirname "$0")/forget-build.sh" "$root"
