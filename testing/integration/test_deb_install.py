"""Our packages on a bare Debian: installed without a network, upgraded, removed, purged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from blockhost.command import run
from testing.integration import deb_tree, debian_root
from testing.integration.conftest import ALL, POOL, bare_machine, boot_installed
from testing.integration.nspawn import Appliance

pytestmark = [pytest.mark.nspawn, pytest.mark.timeout(900)]

#: Modes and owners as the contract and the units rely on them.
FOLDERS = {
    "/etc/blockhost": "750 root:blockhost",
    "/var/lib/blockhost": "750 blockhost:blockhost",
    "/run/blockhost": "750 root:blockhost",
    "/var/lib/blockhost-setup": "700 root:root",
    "/run/blockhost-setup": "750 root:blockhost-wizard",
    "/run/blockhost-wizard": "2750 blockhost-wizard:www-data",
    "/var/www/blockhost": "755 root:root",
}


def modes(machine: Appliance) -> dict[str, str]:
    text = machine.run(["stat", "--format=%n %a %U:%G", *FOLDERS])
    return dict(line.split(" ", 1) for line in text.splitlines())


def installed(machine: Appliance) -> dict[str, str]:
    """Our packages, as dpkg sees them."""
    text = machine.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n"])
    states = dict(line.split() for line in text.splitlines())
    return {name: state for name, state in states.items() if name.startswith("blockhost-")}


def test_install_from_a_pool_without_network(installed_layers: list[Path]) -> None:
    with boot_installed(installed_layers) as machine:
        assert set(installed(machine).values()) == {"ii"}
        assert len(installed(machine)) == len(ALL) + 1
        assert machine.run(["dpkg", "--audit"]) == ""
        assert modes(machine) == FOLDERS
        assert machine.run(["blockhost-agent", "list"]).count("\n") > 10
        for manifest in ("engine", "provisioner"):
            assert machine.exists(f"/usr/share/blockhost/{manifest}.json")


def test_nothing_but_the_agent_was_started(package_pool: Path) -> None:
    """Installing must not begin to set a machine up: that is the next boot's work."""
    with bare_machine(package_pool) as machine:
        machine.run(["apt-get", "-q", "update"])
        machine.run(["apt-get", "-q", "-y", "install", "blockhost-installer", "blockhost-admin"], timeout=300)
        assert machine.is_active("blockhost-root-agent")
        for unit in ("firstboot", "wizard", "worker", "admin"):
            assert machine.state(f"blockhost-{unit}") == "inactive"
            assert machine.property(f"blockhost-{unit}", "ExecMainStartTimestampMonotonic") == "0"
        assert not machine.exists("/var/lib/blockhost/.step-network-wait")


def test_the_code_was_compiled_at_installation(installed_layers: list[Path]) -> None:
    """The units cannot write to /usr, so what is not compiled now is compiled at every start."""
    with boot_installed(installed_layers) as machine:
        for folder in ("/usr/lib/python3/dist-packages/blockhost", "/usr/lib/blockhost/installer"):
            sources = machine.run(["find", folder, "-name", "*.py"]).splitlines()
            compiled = machine.run(["find", folder, "-name", "*.pyc"]).splitlines()
            assert len(sources) == len(compiled) > 10


def test_all_modules_import_with_what_was_installed(installed_layers: list[Path]) -> None:
    """A Depends line that forgets a library shows here and nowhere else: nothing else is installed."""
    script = """
import importlib, pathlib, sys, traceback
sys.path.append("/usr/lib/blockhost")
places = {"/usr/lib/python3/dist-packages": "blockhost", "/usr/lib/blockhost": "."}
count, broken = 0, []
for top, below in places.items():
    for file in sorted(pathlib.Path(top, below).rglob("*.py")):
        name = ".".join(file.relative_to(top).with_suffix("").parts).removesuffix(".__init__")
        if name.endswith("__main__"):
            continue
        count += 1
        try:
            importlib.import_module(name)
        except Exception as error:
            broken.append(f"{name}: {error!r}")
print(count)
print("\\n".join(broken))
"""
    with boot_installed(installed_layers) as machine:
        count, _, broken = machine.run(["python3", "-I", "-c", script]).partition("\n")
        assert broken.strip() == ""
        assert int(count) > 100


#: Installed by whoever wants an IPv6 prefix from a broker; the step says so when it is missing.
OPTIONAL_PROGRAMS = {"broker-client"}


def test_every_program_that_the_code_runs_is_there(installed_layers: list[Path]) -> None:
    """What a Depends line forgets among programs."""
    wanted = {program for recipe in deb_tree.recipes() for program in deb_tree.programs(recipe)}
    wanted -= OPTIONAL_PROGRAMS
    assert len(wanted) > 15
    with boot_installed(installed_layers) as machine:
        script = 'for name; do command -v "$name" >/dev/null || echo "$name"; done'
        assert machine.run(["sh", "-c", script, "sh", *sorted(wanted)]).split() == []


def next_version(package: Path, target: Path, scratch: Path) -> None:
    """The same package under a later version."""
    run(["dpkg-deb", "--raw-extract", package, scratch])
    control = scratch / "DEBIAN/control"
    lines = control.read_text().splitlines()
    later = [f"{line}.later" if line.startswith("Version: ") else line for line in lines]
    control.write_text("\n".join(later) + "\n")
    run(["dpkg-deb", "--build", scratch, target / f"{package.name.partition('_')[0]}_later_all.deb"])


@pytest.fixture
def later_pool(packages: list[Path], tmp_path: Path) -> Path:
    target = tmp_path / "pool"
    target.mkdir()
    for package in packages:
        next_version(package, target, tmp_path / package.stem)
    debian_root.index(target)
    return target


def test_upgrade_keeps_what_it_found(installed_layers: list[Path], later_pool: Path) -> None:
    with boot_installed(installed_layers, binds={later_pool: POOL}) as machine:
        machine.wait_for(lambda: machine.is_active("blockhost-root-agent"))
        agent = machine.property("blockhost-root-agent", "MainPID")
        machine.write_file("/etc/blockhost/db.yaml", "db_file: kept\n", 0o640)
        machine.write_file("/run/blockhost/bridge", "br0\n")
        machine.run(["apt-get", "-q", "update"])
        machine.run(["apt-get", "-q", "-y", "upgrade"], timeout=300)
        versions = machine.run(["dpkg-query", "-W", "-f", "${Version}\n", *ALL, "blockhost-common"]).split()
        assert all(version.endswith(".later") for version in versions)
        assert machine.run(["dpkg", "--audit"]) == ""
        assert machine.read_file("/etc/blockhost/db.yaml") == "db_file: kept\n"
        assert machine.read_file("/run/blockhost/bridge") == "br0\n"
        assert modes(machine) == FOLDERS
        assert machine.is_active("blockhost-root-agent")
        assert machine.property("blockhost-root-agent", "MainPID") != agent


def test_removal_stops_the_services(installed_layers: list[Path]) -> None:
    with boot_installed(installed_layers) as machine:
        machine.wait_for(lambda: machine.is_active("blockhost-root-agent"))
        machine.write_file("/etc/blockhost/server.key", "secret\n", 0o640)
        machine.run(["apt-get", "-q", "-y", "remove", *ALL, "blockhost-common"], timeout=300)
        assert running(machine) == []
        # Configuration goes with a purge, not before.
        assert machine.exists("/etc/blockhost/server.key")


def running(machine: Appliance) -> list[str]:
    """Processes of ours; the pattern does not find itself."""
    done = machine.probe(["pgrep", "--list-full", "-f", "[p]ython3 .*(blockhost|installer|admin)"])
    return done.stdout.splitlines()


def test_purge_leaves_the_customers_data_and_nothing_else(installed_layers: list[Path]) -> None:
    with boot_installed(installed_layers) as machine:
        machine.write_file("/etc/blockhost/server.key", "secret\n", 0o640)
        machine.write_file("/var/lib/blockhost/.setup-complete", "")
        machine.write_file("/var/lib/blockhost/vms.db", "customers\n")
        machine.write_file("/var/lib/blockhost-setup/vault.json", "secret\n", 0o600)
        before = ours(machine)
        said = machine.run(["apt-get", "-q", "-y", "purge", *ALL, "blockhost-common"], timeout=300)
        assert installed(machine) == {}
        assert ours(machine) == ["/var/lib/blockhost", "/var/lib/blockhost/vms.db"]
        assert len(before) > 100
        assert machine.run(["dpkg", "--audit"]) == ""
        assert machine.failed_units() == []
        assert said.count("Removing blockhost-") == len(ALL) + 1


def ours(machine: Appliance) -> list[str]:
    """Every file with our name, or in a folder with our name."""
    places = ["/etc", "/usr", "/var", "/run", "/opt"]
    outside = [
        "-not",
        "-path",
        "/var/lib/apt/*",
        "-not",
        "-path",
        "/var/cache/*",
        "-not",
        "-path",
        "/run/systemd/*",
    ]
    logs = ["-not", "-path", "/var/log/journal/*"]
    text = machine.run(["find", *places, "-xdev", "-path", "*blockhost*", *outside, *logs])
    return sorted(text.splitlines())


def test_purge_of_an_unused_installation_leaves_nothing(installed_layers: list[Path]) -> None:
    with boot_installed(installed_layers) as machine:
        machine.run(["apt-get", "-q", "-y", "purge", *ALL, "blockhost-common"], timeout=300)
        assert ours(machine) == []


def test_a_second_engine_is_refused(installed_layers: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "pool/other"
    (other / "DEBIAN").mkdir(parents=True)
    (other / "DEBIAN/control").write_text(
        "Package: blockhost-engine-other\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.example>\n"
        "Provides: blockhost-engine\nConflicts: blockhost-engine\nDescription: another engine\n"
    )
    run(["dpkg-deb", "--build", other, tmp_path / "pool/other.deb"])
    shutil.rmtree(other)
    with boot_installed(installed_layers, binds={tmp_path / "pool": POOL}) as machine:
        done = machine.probe(["dpkg", "--install", f"{POOL}/other.deb"])
        assert done.code != 0
        assert "conflicts with" in done.stdout + done.stderr
        assert installed(machine)["blockhost-engine-local"] == "ii"
