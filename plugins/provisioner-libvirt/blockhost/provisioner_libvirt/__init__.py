"""Virtual machines by libvirt and QEMU on this very host."""
