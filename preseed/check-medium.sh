#!/bin/sh
# Compares the images on the installation medium with their checksums.
#   start   wait for the medium, then compare; runs beside hardware detection, as it takes a while
#   wait    wait for the answer. Exit codes: 0 whole, 1 damaged
# BLOCKHOST_ROOT: where /cdrom and /tmp are looked for (tests).
root=${BLOCKHOST_ROOT:-}
images=$root/cdrom/live
started=$root/tmp/blockhost-medium.started
answer=$root/tmp/blockhost-medium.answer

compare() {
  : > "$started"
  if (cd "$images" && sha256sum -c SHA256SUMS) > /dev/null 2>&1; then
    echo whole > "$answer.new"
  else
    echo damaged > "$answer.new"
  fi
  mv "$answer.new" "$answer"
}

case $1 in
  start)
    until [ -e "$images/SHA256SUMS" ]; do sleep 1; done
    compare
    ;;
  wait)
    [ -e "$started" ] || compare
    until [ -e "$answer" ]; do sleep 1; done
    [ "$(cat "$answer")" = whole ]
    ;;
esac
