"""Making the signup page: one HTML file without scripts, forms or anything from elsewhere.

A chain's page sells by itself; here the operator does, so it says what there is, what it costs
and what to send. Its text depends only on the configuration and the plans: made twice, it is
the same file.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from blockhost import paths
from blockhost.config_files import BLOCKHOST, HTTPS, parse_config
from blockhost.engine_local.ledger import LedgerMissing, open_ledger, plans
from blockhost.engine_local.ledger.plans import Offer
from blockhost.errors import BlockhostError, ConfigError
from blockhost.files import make_dir, write_atomic
from blockhost.i18n import gettext as _

TEMPLATE = Path(__file__).parent / "templates" / "signup.html"
STYLE = Path(__file__).parent / "templates" / "signup.css"
MODE = 0o644
DAYS_A_MONTH = 30


@dataclass(frozen=True, slots=True)
class Host:
    """What the page says about this host."""

    name: str
    operator: str
    contact: str


def default_path() -> Path:
    return paths.web_dir() / "signup.html"


def render(*, config: Path | None = None, template: Path | None = None) -> str:
    """The page, from `blockhost.yaml` (or `config`) and the ledger.

    Raises:
        BlockhostError: the template or the configuration cannot be read.
    """
    file = template or TEMPLATE
    style = STYLE.read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(file.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    try:
        return environment.get_template(file.name).render(
            _=_,
            host=_host(config or BLOCKHOST.path),
            plans=[plan.offer for plan in _plans()],
            price=price,
            memory=memory,
            style=style,
            style_hash=_csp_hash(style),
        )
    except (TemplateError, OSError) as error:
        raise BlockhostError(f"{file}: {type(error).__name__}: {error}") from error


def publish(output: Path | None = None, **sources: Path | None) -> Path:
    """Write the page where nginx serves it, or to `output`; returns where."""
    target = output or default_path()
    text = render(**sources)
    if output is None and not target.parent.exists():
        make_dir(target.parent, mode=0o755)
    write_atomic(target, text, mode=MODE)
    return target


def is_published() -> bool:
    """Does the page that is served show what is true now?"""
    try:
        return default_path().read_text(encoding="utf-8") == render()
    except FileNotFoundError:
        return False


def summary(offer: Offer) -> str:
    """One line about a plan: `1 CPU, 2 GB memory, 20 GB disk, $0.50 a day`."""
    return _("%(cpu)d CPU, %(memory)s memory, %(disk)d GB disk, %(price)s") % {
        "cpu": offer.cpu,
        "memory": memory(offer.memory_mb),
        "disk": offer.disk_gb,
        "price": price(offer.price_cents),
    }


def price(cents: int, days: int = 1) -> str:
    """What `days` cost, for people."""
    if cents == 0:
        return _("free")
    amount = f"${cents * days / 100:,.2f}"
    return _("%(amount)s a day") % {"amount": amount} if days == 1 else amount


def memory(megabytes: int) -> str:
    return f"{megabytes // 1024} GB" if megabytes % 1024 == 0 else f"{megabytes} MB"


def _host(config: Path) -> Host:
    blockhost = _object(config)
    https = _object(HTTPS.path)
    admin = blockhost.get("admin") or {}
    return Host(
        name=str(https.get("hostname") or _("this host")),
        operator=str(admin.get("wallet_address") or ""),
        contact=str((blockhost.get("local") or {}).get("contact") or ""),
    )


def _object(file: Path) -> dict[str, Any]:
    try:
        document = parse_config(file)
    except FileNotFoundError:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(str(file), "$", _("expected object"))
    return document


def _plans() -> list[plans.Plan]:
    """The page is made before the first plan is: no ledger is no plan."""
    try:
        with open_ledger() as book:
            return plans.all_plans(book, active_only=True)
    except LedgerMissing:
        return []


def _csp_hash(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
