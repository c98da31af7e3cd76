"""Ports that are open for visitors: elements of two named nftables sets, for IPv4 and IPv6 alike.

The table is loaded before there is a network (blockhost-firewall.service); the sets live in the
kernel, so a restart of the agent neither closes nor opens anything.
"""

from __future__ import annotations

from blockhost.command import probe, run
from blockhost.errors import CommandFailed
from blockhost.root_agent.action import action
from blockhost.root_agent.values import Comment, Duration, Port, Protocol

# One transaction. An element that is there is taken out first, or it would keep its old time.
_OPEN = """\
add element inet blockhost open_{proto} {{ {port} }}
delete element inet blockhost open_{proto} {{ {port} }}
add element inet blockhost open_{proto} {{ {port}{timeout} comment "{comment}" }}
"""
_MISSING = "No such file or directory"


@action(resource="firewall")
def iptables_open(port: Port, proto: Protocol, comment: Comment, duration: Duration | None = None) -> None:
    """Open a port for `duration` seconds, or until it is closed. Opening it again counts anew."""
    timeout = f" timeout {int(duration)}s" if duration else ""
    rules = _OPEN.format(port=int(port), proto=proto, comment=comment, timeout=timeout)
    done = probe(["nft", "-f", "-"], stdin=rules)
    if _MISSING in done.stderr:  # somebody flushed the rules
        run(["systemctl", "restart", "blockhost-firewall.service"])
        done = probe(["nft", "-f", "-"], stdin=rules)
    if done.code != 0:
        raise CommandFailed("nft", done.code, done.stderr)


@action(resource="firewall")
def iptables_close(port: Port, proto: Protocol, comment: Comment | None = None) -> None:  # noqa: ARG001
    """Close a port; a closed one is not an error. The contract's comment is accepted, not needed."""
    done = probe(["nft", "delete", "element", "inet", "blockhost", f"open_{proto}", f"{{ {int(port)} }}"])
    if done.code != 0 and _MISSING not in done.stderr:
        raise CommandFailed("nft", done.code, done.stderr)


ACTIONS = {"iptables-open": iptables_open, "iptables-close": iptables_close}
