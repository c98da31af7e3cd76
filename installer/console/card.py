"""The card as text: the same rows for a screen, a serial line and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blockhost.i18n import gettext as _
from installer.console import qr
from installer.console.facts import CodeFact, CodeState, Facts, WorkFact

LABEL_WIDTH = 13
GAP = 2
#: Bytes of the fingerprint in one row of the screen, so that a QR code fits beside it.
FINGERPRINT_BYTES = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One fact. `tone` is ok, warn, error or empty; `volatile` rows alone are no news on a serial line."""

    label: str
    text: str
    tone: str = ""
    volatile: bool = False

    def line(self) -> str:
        label = f"{self.label}:" if self.label else ""
        return f"{label:<{LABEL_WIDTH}}{self.text}".rstrip()


def title(facts: Facts) -> str:
    version = f" {facts.version}" if facts.version else ""
    dry = _(" (dry run: nothing on this machine is changed)") if facts.dry_run else ""
    return plain(f"BlockHost{version}{dry}")


def rows(facts: Facts) -> list[Row]:
    """What the card says now, in order; each fact is one row."""
    found = _access_rows(facts)
    if facts.setup_complete:
        return [*found, *_service_rows(facts)]
    found += [Row(_("More"), url) for url in facts.urls()[1:]]
    if not facts.first_boot.is_complete:
        found += _work_rows(_("First boot"), facts.first_boot)
    if facts.run is not None:
        found += _work_rows(_("Setup"), facts.run)
        if facts.run_status == "completed":
            found.append(Row(_("State"), _("setup is complete"), "ok"))
    return [Row(plain(row.label), plain(row.text), row.tone, row.volatile) for row in found]


def serial_lines(facts: Facts) -> list[str]:
    """The card for a line-oriented terminal: one fact, one line, however long."""
    return [title(facts), *(row.line() for row in rows(facts)), footer(facts)]


def screen_lines(facts: Facts, *, width: int, height: int) -> list[str]:
    """The card for a screen of this size; a QR code stands on the right if there is room."""
    left: list[str] = []
    below: list[str] = []
    for row in rows(facts):
        target = (
            below if row.label in (_("More"), _("First boot"), _("Setup"), _("Failed")) or below else left
        )
        target += wrapped(row, width)
    code = qr.half_blocks(qr.matrix(facts.link())) if facts.link() else []
    room = width - max((len(line) for line in left), default=0) - GAP
    if code and len(code[0]) <= room and max(len(left), len(code)) + len(below) + 4 <= height:
        left = _beside(left, code)
    lines = [title(facts), "", *left, *([""] if below else []), *below]
    free = height - 1 - len(lines)
    lines += [""] * min(1, max(0, free))
    return [line[:width] for line in [*lines[: height - 1], footer(facts)]]


def footer(facts: Facts) -> str:
    if facts.setup_complete:
        return _("Keys: l log, h help")
    return _("Keys: r new code, l log, q QR code, h help")


def help_lines() -> list[str]:
    return [
        _("Open the address in a browser on the same network."),
        _("Compare the certificate's SHA-256 fingerprint with the one shown here, then go on."),
        _("Type the code on the first page. It works once; it is shown here and nowhere else."),
        "",
        _("r  make a new code; the one before is void"),
        _("l  the last lines of the log"),
        _("q  the address and code as a QR code of plain characters"),
        _("h  this help"),
    ]


def shown_code(code: str) -> str:
    """In groups of four, so that it can be read aloud; the wizard ignores the dash."""
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))


def duration(seconds: float) -> str:
    """Rounded down to minutes, so that a card changes once a minute at most."""
    minutes = int(seconds // 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return _("{hours} h {minutes} min").format(hours=hours, minutes=minutes)
    return _("{minutes} min").format(minutes=minutes) if minutes else _("less than a minute")


def plain(text: str) -> str:
    """Without anything that a terminal would obey: messages come from plugins too."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _access_rows(facts: Facts) -> list[Row]:
    urls = facts.urls()
    found = [
        Row(_("Address"), urls[0])
        if urls
        else Row(_("Address"), _("none yet; plug in a network cable"), "warn")
    ]
    found.append(Row(_("Name"), facts.url(facts.local_name)))
    if facts.fingerprint:
        found.append(Row(_("Fingerprint"), f"SHA256 {facts.fingerprint}"))
    if not facts.setup_complete:
        found += _code_rows(facts.code)
    return found


def _code_rows(code: CodeFact) -> list[Row]:
    label = _("Code")
    match code.state:
        case CodeState.USABLE:
            left = Row(_("Valid for"), duration(code.seconds_left), volatile=True)
            return [Row(label, shown_code(code.code), "ok"), left]
        case CodeState.USED:
            return [Row(label, _("used; press r for a new one"))]
        case CodeState.LOCKED:
            return [Row(label, _("locked after too many wrong guesses; press r for a new one"), "warn")]
        case CodeState.EXPIRED:
            return [Row(label, _("expired; press r for a new one"), "warn")]
        case _:
            return [Row(label, _("not issued yet"))]


def _service_rows(facts: Facts) -> list[Row]:
    found = [Row(_("Panel"), facts.panel)]
    if facts.stopped_units:
        stopped = ", ".join(facts.stopped_units)
        return [*found, Row(_("State"), _("not running: {units}").format(units=stopped), "error")]
    return [*found, Row(_("State"), _("all services run"), "ok")]


def _work_rows(label: str, work: WorkFact) -> list[Row]:
    found = []
    text = _("{done} of {total}").format(done=work.done, total=work.total)
    if work.doing:
        text += f"  {work.doing}"
    found.append(Row(label, text))
    if work.message:
        found.append(Row("", work.message, volatile=True))
    if work.expected_s and work.seconds > work.expected_s:
        usual = _("longer than usual (expected up to {seconds:.0f} s)").format(seconds=work.expected_s)
        found.append(Row("", usual, "warn"))
    if work.failed:
        found.append(Row(_("Failed"), f"{work.failed}: {work.error}", "error"))
        if work.hint:
            found.append(Row(_("Hint"), work.hint, "warn"))
    return found


def wrapped(row: Row, width: int) -> list[str]:
    """A row in the lines that it needs on a screen."""
    if row.text.startswith("SHA256 "):
        return _fingerprint_lines(row)
    room = max(10, width - LABEL_WIDTH)
    parts = list(_words_in(row.text, room)) or [""]
    return [Row(row.label, parts[0]).line(), *(Row("", part).line() for part in parts[1:])]


def _fingerprint_lines(row: Row) -> list[str]:
    kind, _space, value = row.text.partition(" ")
    octets = value.split(":")
    groups = [
        ":".join(octets[at : at + FINGERPRINT_BYTES]) for at in range(0, len(octets), FINGERPRINT_BYTES)
    ]
    first, *others = [f"{kind} {groups[0]}", *(f"{'':<{len(kind)}} {group}" for group in groups[1:])]
    return [Row(row.label, first).line(), *(Row("", other).line() for other in others)]


def _words_in(text: str, room: int) -> Iterable[str]:
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > room:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
        while len(line) > room:
            yield line[:room]
            line = line[room:]
    if line:
        yield line


def _beside(left: Sequence[str], right: Sequence[str]) -> list[str]:
    column = max(len(line) for line in left) + GAP
    count = max(len(left), len(right))
    return [
        f"{left[at] if at < len(left) else '':<{column}}{right[at] if at < len(right) else ''}".rstrip()
        for at in range(count)
    ]
