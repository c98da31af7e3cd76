"""The wizard module as the installer meets it: contract, page, formats."""

from __future__ import annotations

import html
import json
from pathlib import Path

import flask
import jinja2
import jsonschema
import pytest

from blockhost.engine_local import wizard
from blockhost.engine_local.answers import DEFAULTS
from blockhost.errors import AnswerError, BlockhostError
from blockhost.manifest import load_engine
from blockhost.plugin_api import as_steps, as_wizard_module

MANIFEST = load_engine(Path(__file__).parents[1] / "engine.json")
GOOD = {**DEFAULTS, "plan_name": "Größe S", "contact": "ops@example.org"}

BASE = (
    "<!doctype html><title>{% block title %}{% endblock %}</title>{% block extra_css %}{% endblock %}"
    "{% block content %}{% endblock %}{% block extra_js %}{% endblock %}"
)


@pytest.fixture
def app(monkeypatch):
    """As little of an installer as the contract grants."""
    app = flask.Flask("installer", template_folder=None)
    app.secret_key = "for this test"
    app.jinja_loader = jinja2.DictLoader(
        {
            "base.html": BASE,
            "macros/wizard_steps.html": "{% macro step_bar(id) %}[{{ id }}]{% endmacro %}",
        }
    )
    app.jinja_env.globals["_"] = lambda text: text
    app.jinja_env.undefined = jinja2.StrictUndefined
    app.context_processor(
        lambda: {
            "wizard_next": lambda step_id: f"/wizard/after-{step_id}",
            "wizard_nav": lambda step_id: {"prev": "/wizard/before", "next": "/wizard/after"},
        }
    )
    app.register_blueprint(wizard.blueprint)
    return app


@pytest.fixture
def client(app):
    return app.test_client()


def test_module_keeps_the_contract():
    module = as_wizard_module(wizard, kind="engine")
    assert all(callable(getattr(module, name)) for name in wizard.__all__ if name != "blueprint")
    assert wizard.blueprint.name == f"engine_{MANIFEST.name}"


def test_manifest_is_understood_completely():
    assert MANIFEST.unknown_keys == ()
    assert MANIFEST.wizard_module == wizard.__name__


def test_steps_are_those_of_the_manifest():
    before = as_steps(wizard.get_finalization_steps(), owner="local")
    after = as_steps(wizard.get_post_finalization_steps(), owner="local")
    assert tuple(step.id for step in before) == MANIFEST.finalization_steps
    assert tuple(step.id for step in after) == MANIFEST.post_finalization_steps
    assert [meta["id"] for meta in wizard.get_progress_steps_meta()] == [
        step.id for step in (*before, *after)
    ]


@pytest.mark.parametrize("url", ["/wizard/local", "/wizard/local/"])
def test_page_opens_with_defaults(client, url):
    reply = client.get(url)
    assert reply.status_code == 200
    assert 'value="2048"' in reply.text
    assert "[local]" in reply.text


@pytest.mark.parametrize("url", ["/wizard/local", "/wizard/local/"])
def test_good_answers_are_kept_and_lead_on(client, url):
    reply = client.post(url, data=GOOD)
    assert (reply.status_code, reply.location) == (303, "/wizard/after-local")
    with client.session_transaction() as session:
        assert session["local_engine"] == {
            "plan_name": "Größe S",
            "plan_price_cents": 50,
            "plan_cpu": 1,
            "plan_memory_mb": 2048,
            "plan_disk_gb": 20,
            "contact": "ops@example.org",
        }
    assert "Größe S" in client.get(url).text


def test_installer_may_offer_wizard_next_as_a_global(app):
    app.template_context_processors[None] = []
    app.jinja_env.globals["wizard_next"] = lambda step_id: f"/wizard/global-{step_id}"
    assert app.test_client().post("/wizard/local", data=GOOD).location == "/wizard/global-local"


BAD = [
    ("plan_name", ""),
    ("plan_name", "x" * 65),
    ("plan_name", "a\x00b"),
    ("plan_price_cents", "-1"),
    ("plan_price_cents", "0.5"),
    ("plan_cpu", "0"),
    ("plan_cpu", "many"),
    ("plan_memory_mb", "255"),
    ("plan_disk_gb", ""),
    ("plan_disk_gb", "9" * 400),
    ("contact", "x" * 201),
    ("contact", "a\nb"),
]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_bad_answer_is_explained_and_nothing_kept(client, field, value):
    reply = client.post("/wizard/local", data={**GOOD, field: value})
    assert reply.status_code == 422
    assert f'href="#{field}"' in reply.text
    assert "ops@example.org" in reply.text or field == "contact"
    with client.session_transaction() as session:
        assert "local_engine" not in session


def test_all_faults_are_told_at_once(client):
    reply = client.post("/wizard/local", data={})
    for field in DEFAULTS.keys() - {"contact"}:
        assert f'href="#{field}"' in reply.text


def test_markup_in_an_answer_stays_text(client):
    text = client.post("/wizard/local", data={**GOOD, "plan_name": "<script>", "plan_cpu": "<b>"}).text
    assert "<script>" not in text
    assert "<b>" not in text


@pytest.mark.parametrize(("field", "value"), BAD)
def test_answers_file_is_refused_by_the_same_rules(field, value):
    with pytest.raises(AnswerError) as refusal:
        wizard.parse_answers({**GOOD, field: value})
    assert refusal.value.field == field


def test_answers_round_trip():
    answers = wizard.parse_answers(GOOD)
    assert wizard.parse_answers(wizard.to_form(answers)) == answers
    jsonschema.validate(answers, wizard.answers_schema(), cls=jsonschema.Draft202012Validator)
    json.dumps(answers)


@pytest.mark.parametrize("change", [{"plan_cpu": 0}, {"plan_cpu": "1"}, {"plan_name": ""}, {"colour": "red"}])
def test_schema_refuses_what_the_form_refuses(change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**wizard.parse_answers(GOOD), **change}, wizard.answers_schema())


def test_summary_is_shown(app):
    session = {"local_engine": wizard.parse_answers(GOOD)}
    with app.test_request_context():
        summary = wizard.get_summary_data(session)
        text = flask.render_template(wizard.get_summary_template(), engine_summary=summary)
        empty = flask.render_template(
            wizard.get_summary_template(), engine_summary=wizard.get_summary_data({})
        )
    assert "1 CPU, 2 GB memory, 20 GB disk, $0.50 a day" in text
    assert "$15.00" in text
    assert "Not answered yet" in empty


def test_wallet_page_gives_the_command_and_the_reason(app):
    with app.test_request_context():
        text = flask.render_template(wizard.get_wallet_template(), error=None)
    assert "ssh-keygen -Y sign -n blockhost" in text
    assert "blockhost-access" in text
    assert "differently each time" in text
    for field in ("admin_wallet", "admin_signature", "public_secret"):
        assert f'name="{field}"' in text


def test_wallet_page_says_what_is_wrong_and_keeps_what_was_typed(app):
    problem = AnswerError("admin_signature", "it does <not> fit", hint="try printf")
    with app.test_request_context():
        text = flask.render_template(
            wizard.get_wallet_template(),
            form={"admin_wallet": "SHA256:x", "public_secret": "it's"},
            errors={"admin_signature": str(problem)},
            error=problem,
            is_kept=True,
        )
    assert "it does &lt;not&gt; fit try printf" in text
    assert 'value="SHA256:x"' in text
    assert r"printf %s 'it'\''s' |" in html.unescape(text)
    assert "Your signature is kept" in text


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_signer_of_the_wallet_page(make_key, kind):
    key = make_key(kind)
    assert wizard.validate_address(key.fingerprint)
    assert wizard.validate_signature(key.sign())
    assert MANIFEST.constraints.is_address(key.fingerprint)
    assert MANIFEST.constraints.is_signature(key.sign())
    assert wizard.recover_signer("blockhost-access", key.sign()) == key.fingerprint


def test_wallet_page_refuses_ecdsa_with_the_reason(make_key):
    with pytest.raises(BlockhostError, match="differently each time"):
        wizard.recover_signer("blockhost-access", make_key("ecdsa").sign())


def test_backup_round_trip(key):
    sealed = wizard.encrypt_config(key.sign(), json.dumps({"a": 1}))
    assert wizard.decrypt_config(key.sign(), sealed) == {"a": 1}


def test_steps_need_no_flask():
    """Steps run in the worker's children; the import rules keep web code out of them."""
    import subprocess
    import sys

    code = (
        "import sys, blockhost.engine_local.steps, blockhost.engine_local.checks;"
        "sys.exit('flask' in sys.modules)"
    )
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3] / "packages/common")]
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(paths)})
    assert done.returncode == 0
