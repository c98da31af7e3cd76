"""Resumable work: steps, their durable records, and the one loop that runs them."""

from blockhost.pipeline.context import StepContext
from blockhost.pipeline.records import Record, RecordStore, Status
from blockhost.pipeline.runner import Event, Runner
from blockhost.pipeline.step import Change, Step

__all__ = ["Change", "Event", "Record", "RecordStore", "Runner", "Status", "Step", "StepContext"]
