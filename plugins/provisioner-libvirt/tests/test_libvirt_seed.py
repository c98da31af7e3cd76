"""The cloud-init seed: text for the guest."""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path

import pytest
import yaml

from blockhost.errors import BlockhostError
from blockhost.provisioner_libvirt import seed


def test_network_is_matched_by_mac() -> None:
    text = seed.network_config(
        mac="52:54:00:01:02:03",
        address=ipaddress.IPv4Address("192.0.2.9"),
        network=ipaddress.IPv4Network("192.0.2.0/24"),
        gateway=ipaddress.IPv4Address("192.0.2.1"),
        ipv6="2001:db8::9",
        nameservers=["192.0.2.1"],
        ipv6_gateway="fe80::1",
    )
    interface = yaml.safe_load(text)["ethernets"]["lan0"]
    assert interface["match"] == {"macaddress": "52:54:00:01:02:03"}
    assert interface["set-name"] == "lan0"
    assert interface["addresses"] == ["192.0.2.9/24", "2001:db8::9/128"]
    assert [(route["to"], route["via"]) for route in interface["routes"]] == [
        ("0.0.0.0/0", "192.0.2.1"),
        ("::/0", "fe80::1"),
    ]
    assert interface["accept-ra"] is False


def test_hosts_link_local_address_is_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    assert seed.link_local("br0") is None
    (tmp_path / "proc/self/net").mkdir(parents=True)
    (tmp_path / "proc/self/net/if_inet6").write_text(
        "fe80000000000000505400fffe000002 03 40 20 80      eth0\n"
        "20010db8000000000000000000000001 02 80 00 80      br0\n"
        "fe80000000000000505400fffe000001 02 40 20 80      br0\n"
    )
    assert seed.link_local("br0") == "fe80::5054:ff:fe00:1"


def test_image_has_cloud_inits_label_and_files(tmp_path: Path) -> None:
    with seed.seed_image({"user-data": "#cloud-config\n", "meta-data": "x: é\n"}) as image:
        done = subprocess.run(["xorriso", "-indev", str(image), "-toc"], capture_output=True, text=True)
        assert "cidata" in done.stdout + done.stderr
        subprocess.run(
            ["xorriso", "-osirrox", "on", "-indev", str(image),
             "-extract", "/meta-data", str(tmp_path / "m")],
            check=True, capture_output=True,
        )  # fmt: skip
    assert (tmp_path / "m").read_text() == "x: é\n"
    assert not image.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("users: []\n", "does not start with #cloud-config"),
        ("#cloud-config\n[1", "is not YAML"),
        ("#cloud-config\n- 1\n", "is not a mapping"),
        ("#cloud-config\n" + "x" * 50_000, "longer than"),
    ],
)
def test_user_data_that_cloud_init_would_ignore_is_refused(text: str, message: str) -> None:
    with pytest.raises(BlockhostError, match=message):
        seed.checked_user_data(text)


def test_first_user_of_foreign_user_data() -> None:
    assert seed.first_user({"users": ["default", {"name": "ann"}]}, "user") == "ann"
    assert seed.first_user({"users": "x"}, "user") == "user"


def test_loopback_name_servers_are_of_no_use_to_a_guest(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver x\nsearch a\n")
    assert seed.host_nameservers(file, "192.0.2.1") == ["192.0.2.53"]
    file.write_text("nameserver 127.0.0.53\n")
    assert seed.host_nameservers(file, "192.0.2.1") == ["192.0.2.1"]
