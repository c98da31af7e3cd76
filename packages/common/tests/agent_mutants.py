"""Planted defects of the root agent, and the tests that must find each: `make test-agent-mutants`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
AGENT = "packages/common/blockhost/root_agent"
COPIED = ("packages/common", "admin/root-agent-actions", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One line changed in one file, and a test that goes red."""

    name: str
    file: str
    line: str
    instead: str
    test: str


SERVER, FUZZ, AUDIT = "test_root_agent_server.py", "test_root_agent_fuzz.py", "test_root_agent_audit.py"
VALUES, LOADER = "test_root_agent_values.py", "test_root_agent_loader.py"
RACE = "test_root_agent_confined.py::test_no_race_of_renames_and_links_leads_elsewhere"
FRAMES = f"{FUZZ}::test_fuzzed_frames_have_no_effect_and_no_crash"
CALLS = f"{FUZZ}::test_shipped_actions_never_give_a_program_another_argument"
KERNEL = f"{SERVER}::test_kernel_says_who_calls"

MUTANTS = (
    Mutant("length without a cap", f"{AGENT}/server.py", "if not 0 < length <= MAX_FRAME:", "if not length:",
           f"{SERVER}::test_length_is_refused_before_anything_is_read"),
    Mutant("no deadline", f"{AGENT}/server.py", "one.deadline <= now", "one.deadline <= 0",
           f"{SERVER}::test_trickling_frame_has_a_deadline"),
    Mutant("half-sent frames unbounded", f"{AGENT}/server.py",
           "self._buffered > self._limits.buffered", "False",
           f"{SERVER}::test_half_sent_frames_together_are_bounded"),
    Mutant("waiting frames unbounded", f"{AGENT}/server.py",
           "self._at_work + size > self._limits.at_work", "size < 0",
           f"{SERVER}::test_what_waits_for_workers_is_bounded"),
    Mutant("one account takes all", f"{AGENT}/server.py",
           "self._by_uid[uid] >= self._limits.clients_per_uid", "False",
           f"{SERVER}::test_one_account_cannot_take_every_connection"),
    Mutant("anybody connects", f"{AGENT}/server.py",
           "not self._dispatcher.may_connect(client.peer)", "False", KERNEL),
    Mutant("anybody calls anything", f"{AGENT}/dispatch.py",
           "if peer.uid not in self._callers.get(name, ()):", "if name not in self._callers:", KERNEL),
    Mutant("what is not logged happens", f"{AGENT}/dispatch.py", "may_fail=False,\n", "may_fail=True,\n",
           f"{SERVER}::test_action_that_cannot_be_logged_does_not_happen"),
    Mutant("refusals flood the log", f"{AGENT}/dispatch.py",
           "if self._may_note_refusal(peer.uid):", "if True:",
           f"{SERVER}::test_refusals_cannot_flood_the_log"),
    Mutant("slow work in quick workers", f"{AGENT}/lanes.py",
           "self._slow if is_slow else self._quick", "self._quick",
           f"{SERVER}::test_slow_action_delays_no_quick_one"),
    Mutant("no order for a resource", f"{AGENT}/lanes.py", "if not resource:", "if True:",
           f"{SERVER}::test_calls_for_one_resource_follow_each_other"),
    Mutant("secrets in the log", f"{AGENT}/action.py", '"[redacted]" if _is_secret(name) else ', "",
           f"{SERVER}::test_secret_and_long_parameters_are_not_logged"),
    Mutant("unknown parameters pass", f"{AGENT}/action.py",
           "if len(arguments) < len(params):", "if len(arguments) < 0:",
           f"{VALUES}::test_unknown_missing_and_wrong_parameters_are_named"),
    Mutant("a newline passes at the end", f"{AGENT}/values.py",
           "not re.fullmatch(cls.PATTERN, value)", 'not re.match(f"(?:{cls.PATTERN})$", value)', CALLS),
    Mutant("true is a number", f"{AGENT}/values.py", " or isinstance(value, bool)", "",
           f"{VALUES}::test_refused"),
    Mutant("a comment may hold quotes", f"{AGENT}/values.py",
           'r"[A-Za-z0-9][A-Za-z0-9 ._:@/-]{0,63}"', 'r"[A-Za-z0-9][A-Za-z0-9 ._:@/\\"}-]{0,63}"', CALLS),
    Mutant("a name may start with a dash", f"{AGENT}/values.py",
           'PATTERN = r"[a-z0-9][a-z0-9-]{0,63}"', 'PATTERN = r"[a-z0-9-]{1,64}"', FRAMES),
    Mutant("keys of others", f"{AGENT}/values.py",
           "RESERVED_WALLETS | FOREIGN_KEYS", "RESERVED_WALLETS", CALLS),
    Mutant("the last of two keys counts", "packages/common/blockhost/fields.py",
           "if len(result) < len(pairs):", "if not pairs and result:", FRAMES),
    Mutant("links on the way", f"{AGENT}/confined.py",
           "_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW", "_FOLDER = os.O_PATH | os.O_DIRECTORY",
           RACE),
    Mutant("a link in place of the file", f"{AGENT}/confined.py",
           "flags | os.O_NOFOLLOW | os.O_NONBLOCK", "flags | os.O_NONBLOCK",
           RACE),
    Mutant("the parent folder", f"{AGENT}/confined.py", 'or ".." in name.parts', "",
           "test_root_agent_confined.py::test_what_is_no_file_of_ours_is_refused"),
    Mutant("a chain of nothing", f"{AGENT}/audit.py", '"prev":"{self._hash}"', '"prev":"{FIRST}"',
           f"{AUDIT}::test_whole_log_verifies"),
    Mutant("hashes that nobody compares", f"{AGENT}/audit.py", "if is_whole and is_entry", "if is_entry",
           f"{AUDIT}::test_every_flipped_byte_is_found"),
    Mutant("half a line stays", f"{AGENT}/audit.py", "os.ftruncate(self._file, self._size)", "pass",
           f"{AUDIT}::test_failed_write_leaves_no_half_line"),
    Mutant("two modules, one action", f"{AGENT}/loader.py", "if name in owners:", "if name in ():", LOADER),
    Mutant("modules that others can write", f"{AGENT}/loader.py",
           "_require_trusted(found, file)", "pass", LOADER),
)  # fmt: skip


def is_found(mutant: Mutant, place: Path) -> bool:
    """Whether the mutant's test goes red in a copy of the tree with the defect."""
    for name in COPIED:
        source, target = TOP / name, place / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "debian"))
        else:
            shutil.copyfile(source, target)
    file = place / mutant.file
    text = file.read_text()
    assert text.count(mutant.line) == 1, f"{mutant.name}: {mutant.file} has not this line once: {mutant.line}"
    file.write_text(text.replace(mutant.line, mutant.instead))
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider",
         f"packages/common/tests/{mutant.test}"],
        cwd=place, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    said = f"{mutant.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    # Anything else, and it was not asked: no such test, or the copy does not even load.
    assert done.returncode == 0 or (done.returncode == 1 and " failed" in done.stdout.splitlines()[-1]), said
    return done.returncode == 1
