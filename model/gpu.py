"""Whether a GPU is worth asking torch about, found out without importing torch (1.6 s on every start)."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path


def cuda_available() -> bool:
    """Whether torch can compute on an NVIDIA GPU here. Imports torch only if a driver and a CUDA build are there."""
    if not (driver_present() and torch_has_cuda()):
        return False
    import torch

    return torch.cuda.is_available()


def driver_present() -> bool:
    """Whether an NVIDIA driver is installed."""
    if sys.platform == "linux":
        return Path("/proc/driver/nvidia/version").exists() or Path("/dev/dxg").exists()  # the second: inside WSL
    return sys.platform == "win32" and shutil.which("nvidia-smi") is not None


def torch_has_cuda() -> bool:
    """Whether the installed torch was built with CUDA: by its libraries, as package versions do not always tell."""
    spec = find_spec("torch")
    folders = spec.submodule_search_locations if spec else None
    return any(True for folder in folders or () for _ in Path(folder, "lib").glob("*torch_cuda*"))
