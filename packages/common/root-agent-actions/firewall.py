"""Ports that are open for visitors: elements of two named nftables sets, for IPv4 and IPv6 alike.

The table is ours alone and is made on the first call; the sets live in the kernel, so a restart
of the agent closes nothing.
"""

from __future__ import annotations

from blockhost.command import probe, run
from blockhost.errors import CommandFailed
from blockhost.root_agent.action import action
from blockhost.root_agent.values import Comment, Port, Protocol

# `add` of what exists is accepted by nft(8), and the file is one transaction. The rules live in
# chains of their own that are flushed first: rules, unlike sets, would be added twice.
_TABLE = """\
add table inet blockhost
add set inet blockhost open_tcp {{ type inet_service; }}
add set inet blockhost open_udp {{ type inet_service; }}
add chain inet blockhost input {{ type filter hook input priority 0; policy accept; }}
flush chain inet blockhost input
add rule inet blockhost input tcp dport @open_tcp accept
add rule inet blockhost input udp dport @open_udp accept
add element inet blockhost open_{proto} {{ {port} comment "{comment}" }}
"""


@action(resource="firewall")
def iptables_open(port: Port, proto: Protocol, comment: Comment) -> None:
    """Open a port; opening it twice is not an error."""
    run(["nft", "-f", "-"], stdin=_TABLE.format(port=int(port), proto=proto, comment=comment))


@action(resource="firewall")
def iptables_close(port: Port, proto: Protocol, comment: Comment | None = None) -> None:  # noqa: ARG001
    """Close a port; a closed one is not an error. The contract's comment is accepted, not needed."""
    done = probe(["nft", "delete", "element", "inet", "blockhost", f"open_{proto}", f"{{ {int(port)} }}"])
    if done.code != 0 and "No such file or directory" not in done.stderr:
        raise CommandFailed("nft", done.code, done.stderr)


ACTIONS = {"iptables-open": iptables_open, "iptables-close": iptables_close}
