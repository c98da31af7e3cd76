"""The smallest provisioner that keeps the contract. For tests only."""

from flask import Blueprint, current_app, redirect, session

blueprint = Blueprint("provisioner_plain", __name__, url_prefix="/wizard/plain")


@blueprint.get("")
def show():
    return "the plain provisioner's page"


@blueprint.post("")
def save():
    session["plain"] = {"size": 1}
    return redirect(current_app.jinja_env.globals["wizard_next"]("plain"), 303)


def get_finalization_steps():
    return []


def get_summary_data(session):
    raise RuntimeError("a bug in the summary")


def get_summary_template():
    return "plain/summary.html"


def get_ui_params(session):
    raise RuntimeError("a bug in the parameters")
