#!/bin/sh
# Menu item of d-i: puts the finished system on the partitions that partman has made and mounted.
set -e
# shellcheck source=/dev/null
. /usr/share/debconf/confmodule

report_failure() {
  code=$?
  if [ "$code" != 0 ]; then
    logger -t blockhost "unpacking failed ($code): $(tail -n 3 /var/log/unsquashfs)"
  fi
}
trap report_failure EXIT

# $1: image, $2, $3: the share of the whole that it stands for, in percent.
unpack() {
  rm -f /tmp/unpack-progress
  mknod /tmp/unpack-progress p # d-i's busybox has no mkfifo
  # shellcheck disable=SC2086  # empty on suites whose unsquashfs reports nothing
  unsquashfs -n $UNSQUASHFS_REPORT -f -d /target "/cdrom/live/$1" \
    > /tmp/unpack-progress 2>> /var/log/unsquashfs &
  pid=$!
  # Not by redirecting the loop: debconf's replies come in on standard input.
  exec 4< /tmp/unpack-progress
  while read -r percent <&4; do
    case $percent in
      '' | *[!0-9]*) continue ;;
    esac
    show $(($2 + percent * ($3 - $2) / 100))
  done
  exec 4<&-
  wait $pid
  show "$3"
}

shown=0
show() {
  db_progress SET "$1"
  if [ "$1" -ge $((shown + 10)) ]; then
    shown=$1
    blockhost-say "unpacked $1%"
  fi
}

blockhost-say "step: unpack the system"
db_progress START 0 100 debian-installer/blockhost-unpack/title
cp /target/etc/fstab /tmp/fstab.partman # partman writes it before there is a system
UNSQUASHFS_REPORT=@UNSQUASHFS_REPORT@
unpack base.squashfs 0 85
unpack template.squashfs 85 95
unpack blockhost.squashfs 95 100
cp /tmp/fstab.partman /target/etc/fstab
db_progress STOP
