"""What libvirt's hook does: the filter of a machine's port, and the route to it, at every start.

Run by libvirt's daemon as root, with the domain's XML on stdin; it must never talk to libvirt, which
waits for it. Domains that are not ours are left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from xml.etree import ElementTree

from blockhost.command import run
from blockhost.errors import BlockhostError
from blockhost.provisioner_libvirt import port_filter
from blockhost.provisioner_libvirt.domain import BRIDGE
from blockhost.provisioner_libvirt.port import port_of


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 keeps libvirt from starting the machine; stderr stands in its error."""
    (happening,) = sys.argv[1:] if argv is None else argv
    try:
        _act(happening, sys.stdin.read())
    except (BlockhostError, ElementTree.ParseError) as error:
        print(f"blockhost: {error}", file=sys.stderr)  # noqa: T201  libvirt reads it
        return 1
    return 0


def _act(happening: str, xml: str) -> None:
    document = ElementTree.fromstring(xml)  # noqa: S314  libvirt's own
    port = port_of(document)
    if port is None:
        return
    if happening == "release":
        port_filter.remove(port.tap)
        return
    port_filter.apply(port)
    bridge = document.find("devices/interface/source")
    name = "" if bridge is None else bridge.get("bridge", "")
    if port.ipv6 and BRIDGE.fullmatch(name):
        run(["ip", "-6", "route", "replace", f"{port.ipv6}/128", "dev", name])


if __name__ == "__main__":
    raise SystemExit(main())
