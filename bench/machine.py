"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from bench.case import Setting
from bench.peers import versions

__all__ = ["describe"]


def describe(setting: Setting) -> dict[str, str]:
    """Kind of processor, cores, threads, versions: label and text of each."""
    made = {
        "Processor": f"{_processor()}, {os.cpu_count()} cores, {setting.threads} threads used",
        "Vector instructions": torch.backends.cpu.get_cpu_capability(),
        "Load average at the end": " ".join(f"{v:.1f}" for v in os.getloadavg()) + " (1, 5, 15 minutes)",
        "System": f"{platform.system()} on {platform.machine()}, Python {platform.python_version()}",
        "Versions": ", ".join(f"{n} {v}" for n, v in {**_own(), **versions()}.items()),
    }
    if setting.device != "cpu":
        made["Accelerator"] = torch.cuda.get_device_name() if setting.device.startswith("cuda") else setting.device
    return made


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        name = next((value.strip() for key, _, value in lines if key.strip() == "model name"), "")
        if name:
            return name
    return platform.processor() or platform.machine()


def _own() -> dict[str, str]:
    try:
        own = version("fluoroscope")
    except PackageNotFoundError:
        own = "from its sources"
    return {"fluoroscope": own, "torch": torch.__version__}
