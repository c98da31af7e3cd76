"""An engine whose blueprint serves no page, and reads instead of writes. For tests only."""

from flask import Blueprint

blueprint = Blueprint("engine_pageless", __name__)


@blueprint.get("/wizard/pageless")
def page():
    return "no POST here"


def get_finalization_steps():
    return []


def get_post_finalization_steps():
    return []


def get_summary_data(session):
    return {}


def get_summary_template():
    return ""
