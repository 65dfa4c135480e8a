"""Compiling a C++ source of this package with the machine's own compiler, once per processor; kept in a cache folder.

The only place in ``core`` that knows of files.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")

COMPILERS = ("g++", "clang++", "c++")
"""Tried in this order where the environment variable CXX names none."""


class NotCompiled(Exception):
    """Why there is no compiled code, in one line."""


def compiled(name: str) -> str:
    """The shared library made of the source ``name`` in this folder, out of the cache or made now in about a second.

    Raises:
        NotCompiled: there is no compiler, or it fails.
    """
    source = Path(__file__).parent / name
    named = os.environ.get("CXX")
    compiler = next(filter(None, map(shutil.which, [named] if named else COMPILERS)), None)
    if compiler is None:
        raise NotCompiled(f"no C++ compiler ({named or ', '.join(COMPILERS)})")
    key = hashlib.sha256(source.read_bytes())
    key.update(" ".join((compiler, *FLAGS, _processor())).encode())
    target = _cache_folder() / f"{source.stem}-{key.hexdigest()[:16]}.so"
    if target.is_file():
        return str(target)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        command = [compiler, *FLAGS, "-o", str(made), str(source)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            reason = next((line for line in run.stderr.splitlines() if "error" in line), "no reason given").strip()
            raise NotCompiled(f"{compiler} cannot compile {source.name} ({reason})")
        made.replace(target)
    return str(target)


def _processor() -> str:
    """What the compiled code depends on: a cache folder may be shared by machines with different processors."""
    description = Path("/proc/cpuinfo")
    lines = description.read_text().splitlines() if description.is_file() else []
    features = [line for line in lines if line.lower().startswith(("flags", "features"))][:1]
    return " ".join((platform.system(), platform.machine(), platform.processor(), *features))


def _cache_folder() -> Path:
    """``$XDG_CACHE_HOME/actsim`` or ``~/.cache/actsim``; a private temporary folder where that cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "actsim"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="actsim-"))
    return folder if os.access(folder, os.W_OK) else Path(tempfile.mkdtemp(prefix="actsim-"))
