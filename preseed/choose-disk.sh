#!/bin/sh
# Chooses the one disk to install on. When in doubt it writes nothing and stops: an unattended wipe cannot
# be undone. Runs before partitioning; kernel arguments overrule:
#   blockhost_disk=/dev/…   install on this one (any size, USB too, but never on the medium itself)
#   blockhost_wipe=yes      erase a disk that is not empty
#   blockhost_method=lvm    partition with LVM (default: regular)
# BLOCKHOST_ROOT: where /proc, /sys, /dev and /cdrom are looked for (tests). BLOCKHOST_STOP: exit instead
# of waiting for the operator (tests).
root=${BLOCKHOST_ROOT:-}
minimum_gb=${BLOCKHOST_MINIMUM_GB:-8}

argument() {
  tr ' ' '\n' < "$root/proc/cmdline" | sed -n "s/^$1=//p" | tail -n 1
}

stop() {
  blockhost-say "=================================================================="
  blockhost-say "INSTALL STOPPED, nothing written: $1"
  blockhost-say "$2"
  blockhost-say "=================================================================="
  [ -z "${BLOCKHOST_STOP:-}" ] || exit 3
  while :; do sleep 3600; done
}

# Why this disk must not be chosen; empty when it may.
objection() {
  name=${1#/dev/}
  sys=$root/sys/block/$name
  case $medium in
    "$name" | "$name"[0-9]* | "$name"p[0-9]*)
      echo install-medium
      return
      ;;
  esac
  if [ "$(cat "$sys/ro")" != 0 ]; then
    echo read-only
  elif [ -n "$wanted" ]; then
    [ "$1" = "$wanted" ] || echo not-asked-for
  elif [ "$(cat "$sys/removable")" != 0 ]; then
    echo removable
  elif [ "$(gigabytes "$name")" -lt "$minimum_gb" ]; then
    echo "smaller-than-${minimum_gb}GB"
  else
    case $(readlink -f "$sys/device") in
      */usb[0-9]*) echo usb ;;
    esac
  fi
}

gigabytes() {
  echo $(($(cat "$root/sys/block/$1/size") / 2097152))
}

wanted=$(argument blockhost_disk)
if [ -n "$wanted" ] && [ -z "$root" ]; then wanted=$(readlink -f "$wanted"); fi
medium=$(sed -n 's#^/dev/\([^ ]*\) /cdrom .*#\1#p' "$root/proc/mounts")

found=
count=0
seen=
for disk in $(list-devices disk); do
  why=$(objection "$disk")
  seen="$seen $disk($(gigabytes "${disk#/dev/}")GB${why:+ $why})"
  if [ -z "$why" ]; then
    count=$((count + 1))
    found=$disk
  fi
done
blockhost-say "disks:${seen:- none}"

if [ $count != 1 ]; then
  stop "$count possible target disks" "Choose one: blockhost_disk=/dev/... on the kernel command line."
fi

if [ "$(argument blockhost_wipe)" != yes ] && blkid -p "$found" > /dev/null 2>&1; then
  stop "$found is not empty" "Choose ERASE in the boot menu, or add blockhost_wipe=yes."
fi

method=$(argument blockhost_method)
case ${method:=regular} in
  regular | lvm) ;;
  *) stop "blockhost_method=$method is neither regular nor lvm" "Correct the kernel command line." ;;
esac
# Two volume groups of one name: the installed system could boot from the wrong one.
if [ "$method" = lvm ]; then
  modprobe dm-mod 2> /dev/null
  for physical in $(vgs --noheadings -o pv_name blockhost 2> /dev/null); do
    case $physical in
      "$found"*) ;;
      *) stop "$physical belongs to a volume group named blockhost" "Remove that disk, or erase it first." ;;
    esac
  done
fi

blockhost-say "step: check the installation medium"
if ! blockhost-check-medium wait; then
  stop "the installation medium is damaged (checksum)" "Write it again, or take another stick."
fi

debconf-set partman-auto/disk "$found"
debconf-set partman-auto/method "$method"
# One recipe by name: otherwise partman works out five, in shell, to offer a choice that nobody makes.
firmware=bios
if [ -d "$root/sys/firmware/efi" ]; then firmware=efi; fi
debconf-set partman-auto/expert_recipe_file "/usr/share/blockhost/partitions.$firmware"
blockhost-say "installing on $found (method $method)"
