"""Making a machine: all of it, or nothing.

Each effect registers its undo as it happens; an error or a signal runs them backwards. What a
SIGKILL or a power cut leaves behind carries the status `creating`: the next `create` or `destroy`
of that name removes it first. Everything privileged goes through the root agent.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from blockhost import paths, root_agent
from blockhost.cloud_init import render_cloud_init
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.provisioner_libvirt import seed
from blockhost.provisioner_libvirt.domain import NAME, Domain
from blockhost.provisioner_libvirt.port import Port
from blockhost.provisioner_libvirt.settings import Settings, load_settings
from blockhost.root_agent.values import Address
from blockhost.vm_db import Status, VMDatabase, VmRecord, get_database

log = logging.getLogger(__name__)

DEFAULT_USER = "user"
LOCK_WAIT = N_("another program is working on it")
#: A guest boots in seconds; one that is emulated, or on a host that is itself a guest, in minutes.
BOOT_S = 900.0
PING_S = 0.2
#: Asking starts programs, which on a slow host takes from the guest what it needs to boot.
LARGEST_SHARE = 1 / 5

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants."""

    name: str
    owner_wallet: str
    nft_token_id: int | None = None
    expiry_days: int = 30
    cpu: int = 1
    memory_mb: int = 2048
    disk_gb: int = 20
    #: User data to use as it is, instead of the template for customers.
    user_data: str | None = None
    #: Public keys that log in, in the template for customers.
    ssh_keys: tuple[str, ...] = ()
    #: How long the guest may take until it answers; None chooses by how it is run, 0 does not wait.
    wait_s: float | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise BlockhostError(
                _("%(name)r is not a VM name; expected 1 to 64 of a-z 0-9 -") % {"name": self.name}
            )
        try:
            Address(self.owner_wallet)  # it becomes a field of the guest's /etc/passwd
        except ValueError as error:
            raise BlockhostError(f"--owner-wallet: {error}") from None
        if self.user_data is not None:
            seed.checked_user_data(self.user_data)
        for label, value, highest in (
            ("--cpu", self.cpu, 64),
            ("--memory", self.memory_mb, 1024 * 1024),
            ("--disk", self.disk_gb, 65536),
            ("--expiry-days", self.expiry_days, 36500),
        ):
            if not 1 <= value <= highest:
                raise BlockhostError(
                    _("%(label)s: expected 1 to %(highest)s, got %(value)s")
                    % {"label": label, "highest": highest, "value": value}
                )


def create(wish: Wish, tell: Tell, database: VMDatabase | None = None) -> None:
    """Make and start the machine, and `tell` the contract's answer: who cannot be told has no machine.

    Raises:
        BlockhostError: it could not be made; nothing of it is left.
    """
    settings = load_settings()
    database = database or get_database(create=False)
    with exclusive(wish.name), ExitStack() as undo:
        made = made_before(wish, database)
        if made is not None:
            tell(answer(wish, made))
            return
        remove_leftovers(wish.name, database, settings)
        record = database.reserve_vm(
            wish.name,
            owner=wish.owner_wallet,
            expiry_days=wish.expiry_days,
            wallet_address=wish.owner_wallet,
            purpose="subscription" if wish.nft_token_id is not None else "",
        )
        undo.callback(database.forget_vm, wish.name)
        if wish.nft_token_id is not None:
            database.reserve_nft_token_id(wish.name, wish.nft_token_id)
        _build(wish, record, settings, undo)
        await_guest(wish.name, BOOT_S if wish.wait_s is None else wish.wait_s)
        database.mark_active(wish.name)
        tell(answer(wish, record))
        undo.pop_all()


def made_before(wish: Wish, database: VMDatabase) -> VmRecord | None:
    """The machine that an earlier call made for the same credential and owner: that caller may have died
    before it heard, and a job that tries again must not fail for it. Without a credential, never."""
    record = database.get_vm(wish.name)
    if record is None or record["status"] != Status.ACTIVE or wish.nft_token_id is None:
        return None
    same = (record["nft_token_id"], record["wallet_address"]) == (wish.nft_token_id, wish.owner_wallet)
    return record if same else None


def answer(wish: Wish, record: VmRecord | None, *, status: str = "ok") -> dict[str, Any]:
    """The contract's object; without a record it says what is known before anything exists."""
    return {
        "status": status,
        "vm_name": wish.name,
        "ip": record and record["ip_address"],
        "ipv6": record and record["ipv6_address"],
        "vmid": record and record["vmid"],
        "nft_token_id": wish.nft_token_id,
        "username": _username(wish),
    }


def _username(wish: Wish) -> str:
    if wish.user_data is None:
        return DEFAULT_USER
    return seed.first_user(seed.checked_user_data(wish.user_data), DEFAULT_USER)


def rehearse(wish: Wish) -> None:
    """Find out, without a change, what would stop `create` before it begins.

    Raises:
        BlockhostError: the host is not set up, or the name belongs to another machine.
    """
    load_settings()
    database = get_database(create=False)
    if made_before(wish, database) is None:
        _free(wish.name, database)


def _free(name: str, database: VMDatabase) -> VmRecord | None:
    """What is on record of a name that may be used."""
    record = database.get_vm(name)
    if record is not None and record["status"] not in (Status.CREATING, Status.DESTROYED):
        raise BlockhostError(
            _("a VM named %(name)s exists already") % {"name": name}, hint=_("blockhost-vm-list shows them.")
        )
    return record


def remove_leftovers(name: str, database: VMDatabase, settings: Settings) -> None:
    """Remove what a killed `create` left. Call it with the name's lock held.

    Raises:
        BlockhostError: the name belongs to a machine that exists.
    """
    record = _free(name, database)
    if record is not None and record["status"] == Status.CREATING:
        log.warning("%s: removing what an interrupted attempt left", name)
        dismantle(name, record, settings)
        database.forget_vm(name)


def dismantle(name: str, record: VmRecord | None, settings: Settings) -> None:
    """Stop and remove everything of a machine but its record; what is missing is fine."""
    root_agent.call("virsh-destroy", name=name)
    root_agent.call("virsh-undefine", name=name)
    root_agent.call("vm-volumes-delete", name=name)
    if record is not None and record["ipv6_address"]:
        root_agent.ip6_route_del(f"{record['ipv6_address']}/128", settings.bridge)


@contextlib.contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Alone with one machine's name; a dead process holds nothing.

    Raises:
        BlockhostError: another process works on that machine.
    """
    directory = paths.state_dir() / "vm-locks"
    directory.mkdir(mode=0o770, exist_ok=True)
    # Readable is enough for flock(2), so root and the services share the file whoever made it.
    descriptor = os.open(directory / f"{name}.lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockhostError(f"{name}: {_(LOCK_WAIT)}") from None
        yield
    finally:
        os.close(descriptor)


def await_guest(name: str, seconds: float) -> None:
    """Wait until the guest agent answers; with 0 seconds, do not.

    Raises:
        BlockhostError: it did not answer in time.
    """
    deadline = time.monotonic() + seconds
    while seconds:
        asked = time.monotonic()
        if root_agent.call("vm-guest-ping", name=name)["answers"]:
            return
        if time.monotonic() > deadline:
            raise BlockhostError(
                _("%(name)s was started, and its guest did not answer within %(seconds)g s")
                % {"name": name, "seconds": seconds},
                hint=_("Does the image have the QEMU guest agent? See: virsh console %(name)s")
                % {"name": name},
            )
        time.sleep(max(PING_S, (time.monotonic() - asked) / LARGEST_SHARE))


def is_free(name: str) -> bool:
    """Whether nobody works on that name at this moment."""
    try:
        with exclusive(name):
            return True
    except BlockhostError:
        return False


def _build(wish: Wish, record: VmRecord, settings: Settings, undo: ExitStack) -> None:
    """Everything outside the database."""
    name = wish.name
    # 52 is unicast and locally administered; 32 random bits keep hosts of one network apart, too.
    mac = "52:54:" + secrets.token_bytes(4).hex(":")
    port = Port(mac, record["ip_address"] or "", record["ipv6_address"] or "")
    if record["ipv6_address"]:
        route = f"{record['ipv6_address']}/128"
        undo.callback(root_agent.ip6_route_del, route, settings.bridge)
        root_agent.ip6_route_add(route, settings.bridge)
    undo.callback(root_agent.call, "vm-volumes-delete", name=name)
    root_agent.call("vm-disk-create", name=name, disk_gb=wish.disk_gb)
    root_agent.call(
        "vm-seed-write",
        name=name,
        user_data=_user_data(wish, record),
        meta_data=seed.meta_data(name, f"{name}-{secrets.token_hex(4)}"),
        network_config=_network_config(mac, record, settings),
    )
    domain = Domain(
        name,
        wish.cpu,
        wish.memory_mb,
        settings.pool,
        settings.bridge,
        port,
        settings.accelerator,
    )
    undo.callback(root_agent.call, "virsh-undefine", name=name)
    root_agent.call("virsh-define", name=name, xml=domain.render())
    undo.callback(root_agent.call, "virsh-destroy", name=name)
    root_agent.call("virsh-start", name=name)


def _user_data(wish: Wish, record: VmRecord) -> str:
    if wish.user_data is not None:
        return wish.user_data
    variables: dict[str, Any] = {
        "VM_NAME": wish.name,
        "VM_FQDN": wish.name,
        "VM_IP": record["ip_address"] or "",
        "VM_IPV6": record["ipv6_address"] or "",
        "USERNAME": DEFAULT_USER,
        "WALLET_ADDRESS": wish.owner_wallet,
        "NFT_TOKEN_ID": "" if wish.nft_token_id is None else wish.nft_token_id,
        "SSH_KEYS": list(wish.ssh_keys),
    }
    return render_cloud_init("nft-auth.yaml", variables)


def _network_config(mac: str, record: VmRecord, settings: Settings) -> str:
    gateway = str(settings.gateway)
    return seed.network_config(
        mac=mac,
        address=ipaddress.IPv4Address(record["ip_address"] or ""),
        network=settings.network,
        gateway=settings.gateway,
        ipv6=record["ipv6_address"],
        ipv6_gateway=seed.link_local(settings.bridge) if record["ipv6_address"] else None,
        nameservers=seed.host_nameservers(paths.at("/etc/resolv.conf"), gateway),
    )
