#!/bin/sh
# Builds the packages and holds them against what an image needs of them; for CI, without root.
#   scripts/ci-verify-packages.sh [--backend libvirt] [--engine local]
# Installation, upgrade and purge are testing/integration/test_deb_install.py, which needs root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/build-packages.sh" "$@" >"$work/built"

bad=0
complain() {
	echo "ci-verify-packages: $1" >&2
	bad=1
}

while read -r deb; do
	dpkg-deb --contents "$deb" | awk '{print $6}' | sed 's/^\.//' >>"$work/files" || complain "$deb cannot be read"
	if ! lintian --fail-on error --allow-root "$deb" >"$work/lintian"; then
		complain "lintian: $(grep -m1 '^E:' "$work/lintian")"
	fi
done <"$work/built"

# What the manifests and units promise, wherever it comes from.
for path in \
	/usr/share/blockhost/engine.json \
	/usr/share/blockhost/provisioner.json \
	/usr/share/blockhost/schemas/engine.schema.json \
	/usr/share/blockhost/schemas/provisioner.schema.json \
	/usr/share/blockhost/root-agent-actions/_common.py \
	/usr/lib/systemd/system/blockhost-firstboot.service \
	/usr/lib/systemd/system/blockhost-wizard.service \
	/usr/lib/systemd/system/blockhost-worker.service \
	/usr/lib/systemd/system/blockhost-root-agent.service \
	/usr/lib/systemd/system/blockhost-admin.service \
	/usr/bin/blockhost-otp /usr/bin/blockhost-setup /usr/bin/blockhost-agent \
	/usr/bin/bw /usr/bin/ab /usr/bin/is /usr/bin/bhcrypt; do
	grep -qxF "$path" "$work/files" || complain "no package holds $path"
done

# Two packages with one file would stop dpkg half-way through an installation.
twice=$(grep -v '/$' "$work/files" | sort | uniq -d)
[ -z "$twice" ] || complain "in more than one package: $twice"

[ "$bad" = 0 ] || exit 1
echo "$(wc -l <"$work/built") packages, $(wc -l <"$work/files") files: fine"
