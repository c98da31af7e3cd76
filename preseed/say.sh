#!/bin/sh
# One line on every console, so that someone at the screen and someone on the serial line both see it.
# BLOCKHOST_ROOT: where /proc and /dev are looked for (tests).
root=${BLOCKHOST_ROOT:-}
seconds=$(cut -d. -f1 "$root/proc/uptime")
for console in tty1 $(sed 's/ .*//' "$root/proc/consoles"); do
  # tty0 is whatever is in front, which is tty1.
  if [ "$console" != tty0 ]; then
    printf '\r\n[blockhost %ss] %s\r\n' "$seconds" "$*" > "$root/dev/$console" 2>/dev/null
  fi
done
logger -t blockhost "$*"
