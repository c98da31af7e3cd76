"""An engine that lacks nearly everything. For tests only."""

from flask import Blueprint

blueprint = Blueprint("engine_lacking", __name__)
validate_address = "not a function"


def get_summary_data(session):
    return {}
