"""Which Debian packages go into the appliance and into the VM template.

Everything that our own packages depend on must be here: the target installs offline.
"""

from __future__ import annotations

# What a machine needs to boot, and what the installer calls inside /target.
MACHINE = [
    "systemd-sysv",
    "udev",
    "dbus",
    "libpam-systemd",
    "systemd-timesyncd",
    "systemd-resolved",
    "linux-image-amd64",
    "initramfs-tools",
    "zstd",
    "kmod",
    "grub2-common",
    "grub-pc-bin",
    "grub-efi-amd64-bin",
    "grub-efi-amd64-signed",
    "shim-signed",
    "efibootmgr",
    "e2fsprogs",
    "dosfstools",
    "lvm2",
    "squashfs-tools",
    "fdisk",
    "ca-certificates",
    "tzdata",
    "procps",
    "less",
    "nano",
    "netbase",
    "acl",
    "openssh-server",
    "openssh-client",
    "openssl",
]

NETWORK = [
    "iproute2",
    "iputils-ping",
    "iputils-arping",
    "nftables",
    "avahi-daemon",
    "libnss-mdns",
    "wireguard-tools",
]

PYTHON = [
    "python3",
    "python3-flask",
    "python3-flask-babel",
    "python3-waitress",
    "python3-jinja2",
    "python3-yaml",
    "python3-pyudev",
    "python3-netifaces",
    "python3-cryptography",
    "python3-pexpect",
    "python3-jsonschema",
    "python3-segno",
    "python3-libvirt",
    "python3-pyroute2",
    "python3-babel",
]

WEB = ["nginx-light", "certbot"]

VIRTUALIZATION = [
    "libvirt-daemon-system",
    "libvirt-clients",
    "qemu-system-x86",
    "qemu-utils",
    "xorriso",
]

APPLIANCE = (*MACHINE, *NETWORK, *PYTHON, *WEB, *VIRTUALIZATION)

TEMPLATE = (
    "systemd-sysv",
    "udev",
    "dbus",
    "libpam-systemd",
    "systemd-timesyncd",
    "systemd-resolved",
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "zstd",
    "kmod",
    "e2fsprogs",
    "cloud-init",
    "cloud-guest-utils",
    "openssh-server",
    "qemu-guest-agent",
    "unattended-upgrades",
    "sudo",
    "ca-certificates",
    "iproute2",
    "iputils-ping",
    "netbase",
    "procps",
    "less",
    "nano",
    "tzdata",
)
