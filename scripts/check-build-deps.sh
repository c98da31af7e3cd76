#!/bin/sh
# Names the Debian packages that building and testing BlockHost needs and this machine lacks, each with
# the reason. --install installs them. Debian 12 and 13. Exit codes: 0 all there, 1 something is missing.
set -eu

# package, what for
wanted() {
  cat << 'EOF'
mmdebstrap|root file systems from Debian packages
squashfs-tools|the system images on the ISO
xorriso|the ISO, and cloud-init seeds
mtools|the ISO's EFI partition
dosfstools|the ISO's EFI partition
fdisk|the partition table of the VM template
zstd|the installer's initrd
kmod|the installer's kernel modules
cpio|inspecting an initrd
busybox|tests of the installer's scripts under its shell
fakeroot|building packages
debhelper|building packages
dh-python|building packages
dpkg-dev|building packages
apt-utils|package indexes
lintian|checking packages
git|the version of a build
make|the make targets
qemu-system-x86|running the ISO in a VM
qemu-utils|disk images
ovmf|UEFI and Secure Boot in VMs
systemd-container|integration tests on the ISO's root file system
nginx-light|integration tests with the real web server
strace|crash tests
util-linux|namespaces for builds and tests
python3|the builder and all of the product
python3-venv|the test environment
python3-all|building packages
python3-flask|web pages
python3-flask-babel|translated pages
python3-waitress|the web server of the pages
python3-jinja2|templates
python3-yaml|configuration and answers files
python3-pyudev|disks
python3-netifaces|network interfaces
python3-cryptography|certificates and encryption
python3-pexpect|serial consoles in VM tests
python3-jsonschema|manifests and answers files
python3-segno|QR codes on the console
python3-libvirt|the libvirt provisioner
python3-pyroute2|network changes
python3-babel|translation catalogs
gettext|translation catalogs
certbot|tests of ACME
pebble|tests of ACME
iproute2|network namespaces in tests
nftables|firewall rules in tests
iputils-ping|network tests
iputils-arping|network tests
libvirt-daemon-system|tests of the libvirt provisioner
libvirt-clients|tests of the libvirt provisioner
openssh-client|the engine's signatures, SSH in VM tests
age|sealed connection details are opened by another program
openssl|certificates in tests
avahi-utils|tests of the .local name
chromium|browser tests
shellcheck|checking scripts
codespell|checking texts
EOF
}

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null)" = installed ]
}

install=no
case ${1:-} in
  '') ;;
  --install) install=yes ;;
  *)
    echo "usage: check-build-deps.sh [--install]" >&2
    exit 2
    ;;
esac

# shellcheck source=/dev/null
. /etc/os-release
case ${ID:-}:${VERSION_ID:-} in
  debian:12 | debian:13) ;;
  *) echo "note: made for Debian 12 and 13, this is ${PRETTY_NAME:-unknown}" >&2 ;;
esac
if [ "$(dpkg --print-architecture)" != amd64 ]; then
  echo "check-build-deps: only amd64 machines can build the ISO" >&2
  exit 1
fi

missing=
while IFS='|' read -r package reason; do
  if ! is_installed "$package"; then
    missing="$missing $package"
    [ $install = yes ] || printf '%-24s %s\n' "$package" "$reason"
  fi
done << EOF
$(wanted)
EOF

if [ -z "$missing" ]; then
  echo "All build dependencies are installed."
  exit 0
fi
if [ $install = no ]; then
  echo "Missing: install with scripts/check-build-deps.sh --install" >&2
  exit 1
fi

as_root=
if [ "$(id -u)" != 0 ]; then as_root=sudo; fi
# A service that a package starts has no business on a build machine; tests start their own.
echo "Installing:$missing"
$as_root apt-get -q update
# shellcheck disable=SC2086  # a list of package names
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing
