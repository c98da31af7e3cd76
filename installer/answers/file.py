"""An answers file becomes Answers, or a list of everything that is wrong with it, by line."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from blockhost.errors import AnswerError, BlockhostError
from blockhost.i18n import gettext as _
from installer.answers.admin_commands import AdminCommandsAnswer
from installer.answers.collection import SECTIONS, VERSION, Answers, OwnerKey, Plugins
from installer.answers.documents import MAX_BYTES, Faulty, Malformed, Problem, Section, Value, read_document
from installer.answers.form import all_problems, problem_of
from installer.answers.ipv6 import Ipv6Answer
from installer.answers.network import NetworkAnswer
from installer.answers.plugin import PluginAnswer, problems_from, unknown_fields, unknown_key
from installer.answers.storage import StorageAnswer
from installer.answers.wallet import WalletAnswer

T = TypeVar("T")

#: A value read from a file: larger than any signature or key.
MAX_VALUE_BYTES = 64 * 1024

#: What a file that leaves these sections out says. The others have no sensible default.
DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "network": {"method": "dhcp"},
    "ipv6": {"ipv6_mode": "none"},
    "admin_commands": {"admin_enabled": "no"},
}

_CORE: Mapping[str, Any] = {
    "wallet": WalletAnswer,
    "network": NetworkAnswer,
    "storage": StorageAnswer,
    "ipv6": Ipv6Answer,
    "admin_commands": AdminCommandsAnswer,
}


class AnswersFileError(BlockhostError):
    """An answers file is not acceptable; `problems` are all its faults."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a file says: answers if there is no problem. A warning stops nobody."""

    answers: Answers | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def read_answers(path: Path, plugins: Plugins) -> Answers:
    """The answers in a file.

    Raises:
        AnswersFileError: names file and line of every fault.
    """
    checked = check_answers(path, plugins)
    if checked.answers is None:
        raise AnswersFileError(checked.problems)
    return checked.answers


def check_answers(path: Path, plugins: Plugins) -> Checked:
    """Read a file and collect every fault and warning; never raises for what the file says."""
    reader = _Reader(path, plugins)
    answers = reader.read()
    problems = sorted(reader.problems, key=lambda problem: problem.line)
    return Checked(None if problems else answers, tuple(problems), tuple(reader.warnings))


@dataclass(slots=True)
class _Reader:
    path: Path
    plugins: Plugins
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    _readable_by_all: bool = False

    def read(self) -> Answers | None:
        try:
            document = read_document(self._raw())
        except Malformed as error:
            self.problems.append(Problem(str(self.path), error.line, "", str(error)))
            return None
        except OSError as error:
            self.problems.append(Problem(str(self.path), 0, "", error.strerror or str(error)))
            return None
        self._check_top(document)
        answers = {name: self._section(name, document.get(name)) for name in SECTIONS}
        self._check_owner(answers)
        if self.problems:
            return None
        return Answers(**answers)

    def _raw(self) -> bytes:
        with self.path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise OSError(0, _("not a regular file"))
            self._readable_by_all = bool(mode & stat.S_IROTH)
            return file.read(MAX_BYTES + 1)

    def _check_top(self, document: Mapping[str, Section | Value | Faulty]) -> None:
        for key, entry in document.items():
            if key not in (*SECTIONS, "version"):
                self._fault(entry.line, key, unknown_key(key, (*SECTIONS, "version")))
        version = document.get("version")
        if version is None:
            self._fault(1, "version", _("missing, expected %d") % VERSION)
        elif not isinstance(version, Value) or version.text != str(VERSION):
            self._fault(version.line, "version", _("expected %d, the only version there is") % VERSION)

    def _section(self, name: str, entry: Section | Value | Faulty | None) -> Any:
        if entry is None and name in DEFAULTS:
            entry = Section(0, {key: Value(0, text) for key, text in DEFAULTS[name].items()})
        if entry is None:
            self._fault(0, name, _("this section is missing"))
            return None
        if not isinstance(entry, Section):
            self._fault(entry.line, name, _("expected a section with keys and values"))
            return None
        if name in ("engine", "provisioner"):
            return self._plugin(name, entry)
        if name == "wallet" and "key" in entry.values:
            return self._owner_key(entry)
        return self._core(name, entry)

    def _core(self, name: str, entry: Section) -> Any:
        kind = _CORE[name]
        known = {known.name: known for known in kind.FIELDS}
        names = [*known, "key"] if name == "wallet" else list(known)
        for key in entry.values:
            if key not in known:
                self._fault(entry.values[key].line, f"{name}.{key}", unknown_key(key, names))
        secrets = {each for each in known if known[each].secret}
        form = self._form(name, entry, [key for key in entry.values if key in known], secrets)
        return self._parsed(name, entry, lambda: kind.from_form(form))

    def _owner_key(self, entry: Section) -> OwnerKey | None:
        """`key:` stands for address and signature: the client that applies the file signs."""
        for key in entry.values:
            if key in ("admin_wallet", "admin_signature"):
                self._fault(
                    entry.values[key].line,
                    f"wallet.{key}",
                    _("contradicts `key`, which makes it: give one of them"),
                )
            elif key not in ("key", "public_secret"):
                self._fault(
                    entry.values[key].line, f"wallet.{key}", unknown_key(key, ("key", "public_secret"))
                )
        form = self._form("wallet", entry, [k for k in ("key", "public_secret") if k in entry.values], ())
        for key in ("key", "public_secret"):
            if not form.get(key) and not isinstance(entry.values.get(key), Faulty):
                self._fault(entry.line, f"wallet.{key}", _("nothing was given, expected a text"))
        if not form.get("key") or not form.get("public_secret"):
            return None
        return OwnerKey(self._beside(Path(form["key"])), form["public_secret"])

    def _plugin(self, name: str, entry: Section) -> PluginAnswer | None:
        plugin = getattr(self.plugins, name)
        chosen = entry.values.get("name")
        if not isinstance(chosen, Value) or not chosen.text:
            self._fault(entry.line, f"{name}.name", _("missing, expected the name of the %s") % name)
            return None
        if plugin is None:
            self._fault(
                chosen.line,
                f"{name}.name",
                _("no %s is installed here, so its answers cannot be checked") % name,
            )
            return None
        if chosen.text != plugin.manifest.name:
            self._fault(
                chosen.line,
                f"{name}.name",
                _("expected %(installed)s, which is installed, got %(found)s")
                % {"installed": plugin.manifest.name, "found": repr(chosen.text)},
            )
            return None
        keys = [key for key in entry.values if key != "name"]
        for fault in unknown_fields(keys, plugin.module):
            self._fault(entry.values[fault.field].line, f"{name}.{fault.field}", fault.problem)
        form = self._form(name, entry, keys, plugin.manifest.secrets)
        return self._parsed(
            name, entry, lambda: PluginAnswer.from_form(name, plugin.manifest, plugin.module, form)
        )

    def _parsed(self, name: str, entry: Section, parse: Callable[[], T]) -> T | None:
        """Run a parser; its complaints are told unless the field was complained about before."""
        told = {problem.where for problem in self.problems}
        try:
            return parse()
        except Exception as error:  # a plugin's parser may raise anything
            for fault in problems_from(name, error):
                where = f"{name}.{fault.field}" if fault.field != name else name
                if where not in told:
                    at = entry.values.get(fault.field)
                    self._fault(at.line if at else entry.line, where, fault.problem, fault.hint)
            return None

    def _check_owner(self, answers: Mapping[str, Any]) -> None:
        """The signature must belong to the wallet, which only the engine can say."""
        wallet, engine = answers["wallet"], self.plugins.engine
        if not isinstance(wallet, WalletAnswer) or engine is None:
            return
        try:
            wallet.check(engine.manifest, engine.module)
        except AnswerError as error:
            for fault in all_problems(error):
                self._fault(0, f"wallet.{fault.field}", problem_of(fault), fault.hint)

    def _form(
        self, section: str, entry: Section, names: Iterable[str], secrets: Iterable[str]
    ) -> dict[str, str]:
        form: dict[str, str] = {}
        for name in names:
            value = entry.values[name]
            where = f"{section}.{name}"
            if isinstance(value, Faulty):
                self._fault(value.line, where, value.message)
            elif value.file is not None:
                form[name] = self._from_file(value, where)
            else:
                form[name] = value.text
                if name in secrets and value.text and self._readable_by_all:
                    self._warn(value.line, where)
        return form

    def _from_file(self, value: Value, where: str) -> str:
        assert value.file is not None
        source = self._beside(value.file)
        try:
            with source.open("rb") as file:
                raw = file.read(MAX_VALUE_BYTES + 1)
            if len(raw) > MAX_VALUE_BYTES:
                raise OSError(0, _("larger than %d bytes") % MAX_VALUE_BYTES)
            return raw.decode("utf-8").strip()
        except OSError as error:
            self._fault(value.line, where, f"{source}: {error.strerror or error}")
        except UnicodeDecodeError:
            self._fault(value.line, where, f"{source}: " + _("not UTF-8"))
        return ""

    def _beside(self, path: Path) -> Path:
        """A path in an answers file is meant relative to that file."""
        return path if path.is_absolute() else Path(os.path.normpath(self.path.parent / path))

    def _fault(self, line: int, where: str, message: str, hint: str = "") -> None:
        if not any(problem.where == where for problem in self.problems):
            self.problems.append(Problem(str(self.path), line, where, message, hint))

    def _warn(self, line: int, where: str) -> None:
        self.warnings.append(
            Problem(
                str(self.path),
                line,
                where,
                _("a secret stands in a file that everybody may read"),
                _("chmod 600 %s, or give it as {file: PATH}") % self.path,
            )
        )
