"""What a person reads goes through gettext (CONTRIBUTING.md), read from the code itself.

Looked at: messages and hints of our errors, complaints, help texts, what steps, checks, findings and
changes say, progress, and printed sentences. Not for people, and so left alone: the journal (`log.*`),
a step's own log (`context.log`), programming errors (`TypeError`, `AssertionError`), the descriptions
inside JSON schemas, names and codes, command lines, and one word or name followed by a value.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
AREAS = ("packages/common", "plugins", "installer", "admin")
MARKS = {"_", "N_", "gettext", "gettext_noop", "ngettext"}

#: (file, how the text starts) -> why it is English for everybody.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("installer/finalize/worker.py", "usage: python3 -m"): "started by its unit only; a command line",
}

#: Callable -> positional arguments that hold a text. Errors have theirs behind NAMES many names.
PLACES: dict[str, tuple[int, ...]] = {
    "complain": (1, 2),
    "parser": (1,),
    "parser_for": (1,),
    "fail": (1,),
    "progress": (1,),
    "Change": (2,),
    "Check": (1, 4),
    "Finding": (1,),
    "Settled": (1,),
    "Step": (1,),
    "KvmState": (1,),
    "Verdict": (2,),
    "ArgumentTypeError": (0,),
}
#: Keywords that hold a text, whoever takes them.
EVERYWHERE = {"help", "description", "epilog"}
#: Keywords that hold a text in an error or one of PLACES.
KEYWORDS = {"message", "hint", "problem", "reason", "remedy", "label", "fix", "evidence", "detail", "note"}
#: Errors whose first arguments are names: a file and a path inside it, a form field, a program.
NAMES = {
    "FieldError": 2,
    "ManifestError": 2,
    "ConfigError": 2,
    "AnswerError": 1,
    "AnswersRefused": 1,
    "Refused": 1,
    "FormRefused": 1,
    "CommandFailed": 1,
    "DamagedFile": 1,
    "RecordNotKept": 1,
}

#: A word beside a space; values stand as NUL, so `port: {error}` has none.
_SENTENCE = re.compile(r"\b[A-Za-z]*[a-z]{2}[,;.]? |(?<= )[A-Za-z]*[a-z]{2}\b")
_PROGRAM = r"(?:virsh|systemctl|journalctl|bw|blockhost-[a-z-]+)(?: (?:\0|[\w@/-]+(?:\.[a-z]+)?))+"
_COMMAND_LINE = re.compile(rf"{_PROGRAM}(?:; (?:{_PROGRAM}|blockhost-[a-z-]+))*")


def sources() -> Iterator[Path]:
    for area in AREAS:
        for path in sorted((TOP / area).rglob("*.py")):
            if not {"tests", "debian"} & set(path.relative_to(TOP).parts):
                yield path


def called(node: ast.Call) -> str:
    """The last word of what is called."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def error_classes(trees: Iterable[ast.AST]) -> set[str]:
    """BlockhostError and all that is made from it."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"BlockhostError"}
    while more := {name for name, parents in bases.items() if parents & found} - found:
        found |= more
    return found


def literal(node: ast.expr) -> str | None:
    """The text of a string or f-string, each value in it as NUL."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
    return None


def parts(node: ast.expr) -> Iterator[ast.expr]:
    """What an expression may give: both ends of a choice, each piece of a sum, what is filled in."""
    if isinstance(node, ast.IfExp):
        yield from parts(node.body)
        yield from parts(node.orelse)
    elif isinstance(node, ast.BinOp):
        yield from parts(node.left)
        if isinstance(node.op, ast.Add):
            yield from parts(node.right)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from parts(value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        yield from parts(node.func.value)
    elif isinstance(node, ast.JoinedStr):
        yield node
        for piece in node.values:
            if isinstance(piece, ast.FormattedValue):
                yield from parts(piece.value)
    else:
        yield node


def texts(call: ast.Call, errors: set[str]) -> Iterator[ast.expr]:
    """The arguments of a call that a person will read."""
    name = called(call)
    if name == "print":
        yield from call.args
    elif name in errors:
        yield from call.args[NAMES.get(name, 0) :]
    else:
        yield from (call.args[place] for place in PLACES.get(name, ()) if place < len(call.args))
    for keyword in call.keywords:
        if keyword.arg in EVERYWHERE or (keyword.arg in KEYWORDS and (name in errors or name in PLACES)):
            yield keyword.value


def assigned(scope: ast.AST) -> dict[str, list[ast.expr]]:
    """Names -> what this scope (not those inside it) gives them: a message may take a step on the way."""
    found: dict[str, list[ast.expr]] = {}
    todo = list(ast.iter_child_nodes(scope))
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
        todo += ast.iter_child_nodes(node)
    return found


def placed(node: ast.AST, function: ast.AST | None = None) -> Iterator[tuple[ast.Call, ast.AST | None]]:
    """Every call below a node, and the function that it stands in."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child, function
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from placed(child, child if is_function else function)


def untranslated(tree: ast.Module, errors: set[str]) -> Iterator[tuple[int, str]]:
    """Line and text of each sentence that does not go through gettext."""
    known = functools.cache(assigned)
    for call, function in placed(tree):
        for part in (part for argument in texts(call, errors) for part in parts(argument)):
            values = [part]
            if isinstance(part, ast.Name):
                local = known(function).get(part.id) if function else None
                values = local or known(tree).get(part.id, [])
            for value in (inner for given in values for inner in parts(given)):
                text = literal(value)
                if text and _SENTENCE.search(text) and not _COMMAND_LINE.fullmatch(text):
                    yield value.lineno, text


def misused(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Marks that translate nothing: around an f-string, or when a module is loaded."""
    for call, function in placed(tree):
        if isinstance(call.func, ast.Name) and call.func.id in MARKS:
            if any(isinstance(given, ast.JoinedStr) for given in call.args):
                yield call.lineno, "an f-string is in no catalog: fill the text in behind the mark"
            elif call.func.id in ("_", "ngettext") and function is None:
                yield call.lineno, "translated once when the module is loaded: mark it by N_"


def test_what_people_read_goes_through_gettext() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources()}
    errors = error_classes(trees.values())
    found, used = set(), set()
    for path, tree in trees.items():
        name = str(path.relative_to(TOP))
        for line, text in untranslated(tree, errors):
            known = {key for key in EXCEPTIONS if key[0] == name and text.startswith(key[1])}
            used |= known
            if not known:
                found.add(f"{name}:{line}: {text!r}")
        found |= {f"{name}:{line}: {problem}" for line, problem in misused(tree)}
    assert not found, "\n".join(sorted(found))
    assert used == set(EXCEPTIONS), "an exception without a case"


PLANTED = '''
import argparse
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_

FULL = "the disk is full"
GOOD = N_("the disk is fine")
EARLY = _("too early")

class Odd(BlockhostError):
    """Of our own making."""

def bad(name, made, word):
    print(f"{name} has gone")
    made.add_argument("--x", help="what it is")
    message = "it went" if word else "it came back"
    complain("x", message)
    raise Odd(FULL, hint="Try it " + word)

def worse(name):
    raise FieldError("a file", "$.key", "expected %s, got nothing" % name, hint=_(f"see {name}"))

def fine(name, error):
    print(f"{name}: {error}")
    log.warning("for the journal")
    made.add_argument("--x", help=_("what it is"))
    if error:
        raise TypeError("not for people")
    raise Odd(_("%(name)s is gone") % {"name": name}, hint="systemctl status nginx.service")
'''


def test_planted_offenders_are_found() -> None:
    tree = ast.parse(PLANTED)
    errors = error_classes([tree]) | {"FieldError"}
    assert {text for _line, text in untranslated(tree, errors)} == {
        "\0 has gone",
        "what it is",
        "it went",
        "it came back",
        "the disk is full",
        "Try it ",
        "expected %s, got nothing",
    }
    assert [problem.partition(":")[0] for _line, problem in misused(tree)] == [
        "translated once when the module is loaded",
        "an f-string is in no catalog",
    ]
