#!/bin/sh
# Menu item of d-i: makes the installed system start by itself, on BIOS and on UEFI with Secure Boot.
set -e

blockhost-say "step: boot loader"
for directory in dev proc sys run; do
  grep -q " /target/$directory " /proc/mounts || mount --bind "/$directory" "/target/$directory"
done

device_of() {
  chroot /target stat --format=%d "$1"
}

install_uefi() {
  modprobe efivarfs 2> /dev/null || true
  variables=/sys/firmware/efi/efivars
  grep -q " $variables " /proc/mounts || mount -t efivarfs efivarfs $variables || true
  mount --bind $variables /target$variables || true
  # With a /boot of its own, partman may have mounted the EFI partition first, and /boot over it: it is in
  # the table of mounts then, but a path does not lead to it. Only the device number tells.
  modprobe vfat 2> /dev/null || true
  mkdir -p /target/boot/efi
  if [ "$(device_of /boot/efi)" = "$(device_of /boot)" ]; then
    chroot /target mount /boot/efi
  fi
  set -- chroot /target grub-install --target=x86_64-efi --uefi-secure-boot --efi-directory=/boot/efi \
    --bootloader-id=debian
  # The removable path first: it boots even where firmware forgets its entries.
  "$@" --force-extra-removable --no-nvram
  "$@" || logger -t blockhost "firmware took no boot entry; the removable path is in place"
}

if [ -d /sys/firmware/efi ]; then
  install_uefi
else
  chroot /target grub-install --target=i386-pc --force "$(debconf-get partman-auto/disk)"
fi
chroot /target update-grub
# The ISO's boot menu looks for this label: a medium left in the machine starts the installed system.
chroot /target e2label "$(chroot /target findmnt -no SOURCE -T /boot/grub)" BLOCKHOST-BOOT
