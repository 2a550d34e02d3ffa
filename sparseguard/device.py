"""Where computations run, and what it is called."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def default_device() -> str:
    """``"cuda"`` where there is a GPU, else ``"cpu"``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name(device: str) -> str:
    """The GPU's name, or the processor's where the system tells it."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.M) if info.is_file() else None
    return f"{found[1].strip() if found else platform.machine()} (CPU)"


@contextmanager
def undisturbed() -> Iterator[None]:
    """Torch's generator and gradient mode are left to the caller as they were; algorithms give the same again."""
    with torch.random.fork_rng(), torch.backends.cudnn.flags(deterministic=True, benchmark=False), torch.enable_grad():
        yield
