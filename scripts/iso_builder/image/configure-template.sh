#!/bin/sh
# Turns freshly installed Debian packages into the image that customers' VMs start from. $1: the root,
# further: lines of sources.list.
set -eu
root=$1
shift

# The builder's own archive, for unattended upgrades; a seed with `apt:` overrules it.
printf '%s\n' "$@" > "$root/etc/apt/sources.list"
echo "vm" > "$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > "$root/etc/hosts"

# Seeds come on a disk of the VM (NoCloud); probing the network for clouds costs half a minute.
mkdir -p "$root/etc/cloud/cloud.cfg.d"
cp "$(dirname "$0")/template-files/90-blockhost.cfg" "$root/etc/cloud/cloud.cfg.d/"
mkdir -p "$root/etc/systemd/system/ssh.service.d"
cp "$(dirname "$0")/base-files/etc/systemd/system/ssh.service.d/blockhost-host-keys.conf" \
  "$root/etc/systemd/system/ssh.service.d/"
echo "LABEL=blockhost-vm / ext4 defaults,errors=remount-ro,x-systemd.growfs 0 1" > "$root/etc/fstab"

chroot "$root" systemctl --quiet enable systemd-networkd systemd-resolved ssh.service
chroot "$root" systemctl --quiet mask systemd-networkd-wait-online.service
printf 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n' \
  > "$root/etc/apt/apt.conf.d/20auto-upgrades"

# The boot loader lies outside the file system; it reads this and finds everything by label, on any bus.
# /vmlinuz and /initrd.img are kept by the kernel packages, so upgrades need no boot loader tools in here.
mkdir -p "$root/boot/grub"
cp "$(dirname "$0")/template-files/grub.cfg" "$root/boot/grub/grub.cfg"
test -e "$root/vmlinuz" && test -e "$root/initrd.img"

"$(dirname "$0")/forget-build.sh" "$root"
