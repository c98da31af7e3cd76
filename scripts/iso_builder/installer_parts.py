"""Which parts of Debian's installer the ISO's initrd has, and which it must not have.

The netboot initrd is the base: it has d-i's core but expects to fetch the rest from a mirror, which an
offline installation cannot.
"""

from __future__ import annotations

from dataclasses import dataclass

# Missing from the netboot initrd: finding the medium and the disks, partitioning, finishing.
UDEBS = [
    "cdrom-detect",
    "di-utils-mapdevfs",
    "partman-base",
    "partman-utils",
    "partman-auto",
    "partman-auto-lvm",
    "partman-lvm",
    "partman-basicfilesystems",
    "partman-basicmethods",
    "partman-ext3",
    "partman-efi",
    "partman-partitioning",
    "partman-target",
    "finish-install",
    "lvm2-udeb",
    "dmsetup-udeb",
    "parted-udeb",
    "dosfstools-udeb",
    "dmidecode-udeb",
]

# In the netboot initrd, and asking what we know, fetching, configuring a network, or never shown.
DROPPED_UDEBS = [
    "localechooser",
    "console-setup-udeb",
    "choose-mirror",
    "choose-mirror-bin",
    "download-installer",
    "net-retriever",
    "media-retriever",
    "mountmedia",
    "rescue-check",
    "ethdetect",
    "netcfg",
    "network-preseed",
    "brltty-udeb",
    "libasound2-udeb",
    "wpasupplicant-udeb",
    "wireless-regdb-udeb",
    "libiw30-udeb",
    "wide-dhcpv6-client-udeb",
    "rdnssd-udeb",
    "ndisc6-udeb",
    "wget-udeb",
    "gpgv-udeb",
    "libssl3-udeb",
    "libcrypto3-udeb",
    "screen-udeb",
    "ca-certificates-udeb",
    "pcmciautils-udeb",
    "libnl-3-200-udeb",
    "libnl-genl-3-200-udeb",
]

DROPPED_FILES = [
    "*brltty*",
    "*libasound*",
    "usr/sbin/wpa_*",
    "usr/lib/libiw.*",
    "usr/lib/ossl-modules/*",
    "usr/lib/libssl*",
    "usr/lib/libcrypto*",
    "usr/bin/wget",
    "usr/bin/gpgv",
    "usr/bin/screen*",
    "usr/share/screen/*",
    "usr/lib/choose-mirror/*",
    "usr/lib/netcfg/*",
    "usr/bin/netcfg",
    "usr/bin/rdnssd",
    "usr/sbin/rdnssd",
    "usr/sbin/dhcp6c",
    "usr/lib/debian-installer-startup.d/S60rescue-check",
    "usr/lib/debian-installer*.d/*speakup",
    "usr/lib/main-menu.d/10rescue",
    "usr/lib/base-installer.d/*",
    "usr/lib/post-base-installer.d/*",
    "usr/lib/pre-pkgsel.d/*",
    # It would rebuild the initramfs, which takes minutes, where bochs or cirrus graphics are in use.
    "usr/lib/finish-install.d/10update-initramfs",
    # apt's caches: there are no package lists.
    "usr/lib/finish-install.d/60cleanup",
    "usr/lib/finish-install.d/05localechooser",
    # What they would set up, the image has; the medium stays where it is.
    "usr/lib/finish-install.d/07preseed",
    "usr/lib/finish-install.d/07rootskel",
    "usr/lib/finish-install.d/08hw-detect",
    "usr/lib/finish-install.d/15cdrom-detect",
    "usr/lib/finish-install.d/20final-message",
    "usr/lib/finish-install.d/30hw-detect",
    "usr/lib/finish-install.d/70mtab",
    "usr/lib/finish-install.d/80hvcgetty",
    "usr/lib/finish-install.d/90console",
    "usr/lib/debian-installer.d/S55console-setup",
    # hw-detect indexes the modules with it each time; they come indexed.
    "usr/sbin/depmod",
    # partman's tables and menus, drawn anew for each partition at each change, and seen by nobody.
    "usr/lib/partman/visual.d/*",
    "usr/lib/partman/update.d/01real_resize_range_cache",
    "usr/lib/partman/update.d/58default_visuals",
    "usr/lib/partman/update.d/60basicmethods",
    "usr/lib/partman/update.d/60*_visuals",
    "usr/lib/partman/update.d/80visual",
    "usr/lib/partman/choose_partition/[2-8]*",
    "usr/lib/partman/recipes-*",  # ours is named by choose-disk.sh
    "usr/lib/partman/check.d/*",  # of what someone typed; our recipes are fixed
    "usr/lib/partman/init.d/35dump",
    "usr/lib/partman/init.d/80autouse_swap",
    "usr/lib/partman/init.d/95backup",
    "usr/lib/partman/commit.d/20remove_backup",
    "usr/lib/partman/finish.d/50fstab_removable_media_entries",
    "usr/lib/partman/finish.d/70aptinstall_*",
    "usr/lib/partman/finish.d/75reformat_after_restart",
    "usr/lib/finish-install.d/07speakup",
    "usr/lib/finish-install.d/55netcfg*",
    "usr/lib/finish-install.d/50config-target-network",
    "usr/lib/finish-install.d/97release-dhcp-lease",
]

# Dependencies by name that are met by programs from the image, by our kernel modules, or not needed.
SATISFIED = [
    "e2fsprogs-udeb",
    "harddrive-detection",  # cdrom-detect has loaded every driver already
    "user-setup-udeb",  # the image has its accounts, root is locked
    "ntfs-3g-udeb",
    "md-modules",
    "ext2-modules",
    "ext3-modules",
    "ext4-modules",
    "fat-modules",
    "efi-modules",
]

# Programs from the image itself, so that installer and target use one version.
IMAGE_PROGRAMS = [
    "usr/sbin/mke2fs",
    "usr/sbin/e2fsck",
    "usr/sbin/tune2fs",
    "usr/sbin/resize2fs",
    "usr/bin/unsquashfs",
]
PROGRAM_LINKS = {
    "usr/sbin/mkfs.ext4": "mke2fs",
    "usr/sbin/mkfs.ext3": "mke2fs",
    "usr/sbin/mkfs.ext2": "mke2fs",
    "usr/sbin/fsck.ext4": "e2fsck",
    "usr/sbin/e2label": "tune2fs",
}

# How disks are divided, by firmware: one root file system (LVM: and /boot). No swap: a host whose VMs
# swap is planned wrongly, and each partition costs partman seconds.
RECIPES = {
    "partitions.bios": "usr/share/blockhost/partitions.bios",
    "partitions.efi": "usr/share/blockhost/partitions.efi",
}

# Our scripts in preseed/ and where d-i runs them from.
SCRIPTS = {
    "say.sh": "usr/sbin/blockhost-say",
    "check-medium.sh": "usr/sbin/blockhost-check-medium",
    "choose-disk.sh": "usr/sbin/blockhost-choose-disk",
    "watch.sh": "usr/lib/debian-installer-startup.d/S11blockhost-watch",
    "late-command.sh": "usr/lib/finish-install.d/94zz-blockhost",
}


@dataclass(frozen=True, slots=True)
class MenuItem:
    """A step of d-i's main menu that is a script of ours; `number` is its place in the order."""

    package: str
    script: str
    number: int
    title: str
    provides: str
    depends: str


# `provides` makes finish-install's dependencies hold without base-installer and grub-installer.
MENU_ITEMS = (
    MenuItem(
        package="blockhost-unpack",
        script="unpack-image.sh",
        number=6490,
        title="Unpacking the BlockHost system",
        provides="installed-base, kernel-installer",
        depends="created-fstab, mounted-partitions",
    ),
    MenuItem(
        package="blockhost-boot",
        script="install-bootloader.sh",
        number=7400,
        title="Installing the boot loader",
        provides="bootable-system",
        depends="installed-base, created-fstab",
    ),
)
