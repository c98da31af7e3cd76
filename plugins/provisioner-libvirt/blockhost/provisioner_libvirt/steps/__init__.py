"""The provisioner's part of finalization, in order."""

from __future__ import annotations

from blockhost.pipeline.step import Step
from blockhost.provisioner_libvirt.steps import network, storage, template

STEPS: tuple[Step, ...] = (storage.STEP, network.STEP, template.STEP)
