#!/bin/sh
# First boot of a libvirt host: the daemon answers on its sockets. Safe to run again; the first
# failure stops first boot. STATE_DIR and LOG_FILE come from the caller (contract of plugins).
set -eu

: "${STATE_DIR:?}" "${LOG_FILE:?}"
marker="$STATE_DIR/.step-libvirt-first-boot"

log() { printf '%s libvirt: %s\n' "$(date -u +%FT%TZ)" "$1" >>"$LOG_FILE"; }

if [ -e "$marker" ] && virsh -q -c "${BLOCKHOST_LIBVIRT_URI:-qemu:///system}" version >/dev/null 2>&1; then
	log "already done"
	exit 0
fi

# libvirt takes the node of a KVM that does not work for a KVM, and each definition takes a minute.
dropin=/etc/systemd/system/libvirtd.service.d/blockhost-no-kvm.conf
usable=0
if [ -e /dev/kvm ]; then
	python3 -c 'import sys; from blockhost.provisioner_libvirt.kvm import probe
sys.exit(0 if probe().usable else 3)' >>"$LOG_FILE" 2>&1 || usable=$?
fi
if [ "$usable" = 3 ]; then
	log "KVM does not work here: hiding its device from libvirt"
	mkdir -p "${BLOCKHOST_ROOT:-}${dropin%/*}"
	printf '[Service]\nExecStartPre=/bin/rm -f /dev/kvm\n' >"${BLOCKHOST_ROOT:-}$dropin.new"
	mv "${BLOCKHOST_ROOT:-}$dropin.new" "${BLOCKHOST_ROOT:-}$dropin"
	systemctl daemon-reload >>"$LOG_FILE" 2>&1
fi

# Socket activation: the daemon starts when somebody asks, and comes back after a crash.
for unit in virtlogd.socket libvirtd.socket; do
	log "enabling $unit"
	systemctl enable --now "$unit" >>"$LOG_FILE" 2>&1
done

# The daemon itself, too: at boot it starts the machines. It looks for hooks when it starts, and ours
# may be newer than it.
systemctl enable libvirtd.service >>"$LOG_FILE" 2>&1
systemctl try-restart libvirtd.service >>"$LOG_FILE" 2>&1

# Debian's own NAT network would claim a second bridge; machines live on the host's.
uri="${BLOCKHOST_LIBVIRT_URI:-qemu:///system}"
if virsh -q -c "$uri" net-info --network default >/dev/null 2>&1; then
	log "retiring libvirt's default network"
	virsh -q -c "$uri" net-autostart --network default --disable >>"$LOG_FILE" 2>&1 || true
	virsh -q -c "$uri" net-destroy --network default >>"$LOG_FILE" 2>&1 || true
fi

if ! virsh -q -c "$uri" version >>"$LOG_FILE" 2>&1; then
	log "libvirt does not answer"
	echo "libvirt does not answer; see systemctl status libvirtd" >&2
	exit 1
fi
: >"$marker"
log "done"
