"""The validation's look at the firewall, by the real nft in a network of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from blockhost.checks import CheckContext
from installer.validation.checks import firewall

TOP = Path(__file__).resolve().parents[2]
NFT = """#!/bin/sh
exec unshare --net sh -c '
  {{ cat "$1"; echo "$2"; }} | /usr/sbin/nft -f - && shift 2 && exec /usr/sbin/nft "$@"
' sh {rules} '{change}' "$@"
"""


@pytest.mark.parametrize(
    ("change", "evidence"),
    [
        ("", "policy drop, "),
        ("flush ruleset", "there is no chain inet blockhost input"),
        ("delete chain inet blockhost input", "there is no chain inet blockhost input"),
        ("add chain inet blockhost input { policy accept; }", "policy accept"),
        ("insert rule inet blockhost input counter accept", "a rule that accepts everything"),
    ],
)
def test_the_kernels_own_rules_are_looked_at(
    change: str, evidence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nft = tmp_path / "nft"
    nft.write_text(NFT.format(rules=TOP / "packages/common/firewall/base.nft", change=change))
    nft.chmod(0o755)
    monkeypatch.setenv("BLOCKHOST_PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")
    (check,) = [check for check in firewall.checks() if check.id == "FW-DROP-02"]
    finding = check.probe(CheckContext())
    assert (finding.ok, evidence in finding.evidence) == (not change, True), finding
