"""Step `signup`: the static page for visitors, made by the engine's own command.

It has no `check`: making the page again is as cheap as comparing it, and `apply` looks at the
result before it goes live.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from blockhost.errors import StepFailed
from blockhost.files import make_dir, write_atomic
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.paths import web_dir
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Change, Step


def page() -> Path:
    return web_dir() / "signup.html"


def run(context: StepContext) -> None:
    make_dir(web_dir(), mode=0o755)
    with tempfile.TemporaryDirectory(prefix="blockhost-signup-") as scratch:
        draft = Path(scratch) / "signup.html"
        context.stream(["blockhost-generate-signup", "--output", draft], timeout=120)
        html = draft.read_text(encoding="utf-8") if draft.exists() else ""
    if "<html" not in html.lower():
        raise StepFailed(_("blockhost-generate-signup ended without a page"))
    if not page().exists() or page().read_text(encoding="utf-8") != html:
        write_atomic(page(), html, mode=0o644)
    hostname = (context.config.get("https") or {}).get("hostname", "")
    context.result({"url": f"https://{_in_url(hostname)}/"})


def describe(context: StepContext) -> list[Change]:
    return [Change("file", str(page())), Change("command", "blockhost-generate-signup")]


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


STEP = Step("signup", N_("Signup page"), apply=run, plan=describe, expect_s=(0, 10), timeout_s=300)
