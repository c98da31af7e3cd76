#!/bin/sh
# What runs beside d-i from its start. d-i draws on the last console only: this follows its log and puts its
# steps, and its failures, on all. And it begins to check the medium.
root=${BLOCKHOST_ROOT:-}
syslog=$root/var/log/syslog

follow() {
  while read -r line; do
    case $line in
      *"Menu item 'blockhost-"*) ;; # these speak for themselves
      *"INFO: Menu item '"*)
        item=${line#*Menu item \'}
        blockhost-say "step: ${item%%\'*}"
        ;;
      *"WARNING **: Configuring '"*)
        item=${line#*Configuring \'}
        failed "${item%%\'*}"
        ;;
    esac
  done
}

failed() {
  blockhost-say "=================================================================="
  blockhost-say "INSTALL FAILED in step $1"
  blockhost-say "Log: /var/log/syslog. Shell: Alt-F2. Nothing is retried by itself."
  blockhost-say "=================================================================="
  for console in tty1 console; do
    tail -n 15 "$syslog" > "$root/dev/$console" 2>/dev/null
  done
}

# d-i runs start-up scripts one after another and waits for each: go to the background.
blockhost-check-medium start < /dev/null > /dev/null 2>&1 &
(
  until [ -e "$syslog" ]; do sleep 1; done
  tail -n +1 -f "$syslog" | follow
) < /dev/null > /dev/null 2>&1 &
