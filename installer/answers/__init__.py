"""What the operator says, typed: one section is one file, its rules stand nowhere else.

A section's class reads a form (`from_form`), gives it back (`to_form`), and says what the session
keeps of it (`to_session`). Pages, the answers file and the JSON API all go through `from_form`;
the published JSON Schema is made from the same tables.
"""

from __future__ import annotations

from blockhost.placeholders import is_placeholder, placeholder, resolve_secrets
from installer.answers.admin_commands import AdminCommandsAnswer
from installer.answers.collection import (
    SECTIONS,
    VERSION,
    Answer,
    Answers,
    OwnerKey,
    config_from_session,
    manifest_document,
)
from installer.answers.documents import Problem
from installer.answers.file import AnswersFileError, Checked, check_answers, read_answers
from installer.answers.form import FormRefused, Refused, all_problems, as_text, problem_of
from installer.answers.ipv6 import Ipv6Answer
from installer.answers.network import NetworkAnswer
from installer.answers.plugin import PluginAnswer
from installer.answers.secrets import (
    ADMIN_SIGNATURE,
    secret_names,
    split_secrets,
)
from installer.answers.storage import StorageAnswer
from installer.answers.wallet import WalletAnswer

__all__ = [
    "ADMIN_SIGNATURE",
    "SECTIONS",
    "VERSION",
    "AdminCommandsAnswer",
    "Answer",
    "Answers",
    "AnswersFileError",
    "Checked",
    "FormRefused",
    "Ipv6Answer",
    "NetworkAnswer",
    "OwnerKey",
    "PluginAnswer",
    "Problem",
    "Refused",
    "StorageAnswer",
    "WalletAnswer",
    "all_problems",
    "as_text",
    "check_answers",
    "config_from_session",
    "is_placeholder",
    "manifest_document",
    "placeholder",
    "problem_of",
    "read_answers",
    "resolve_secrets",
    "secret_names",
    "split_secrets",
]
