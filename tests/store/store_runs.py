"""The made-up run that the tests of the store write, damage and kill.

Run as a program (``python store_runs.py score DIR``), this file is the writer that is killed from outside.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from actsim.config import RunConfig, Scoring
from actsim.store import RunStore, open_run

GROUPS = ((1, "all"), (1, "q"), (1, "up"), (2, "all"), (2, "q"), (2, "up"))
MEASURES = ("cosine", "ruzicka")
PART_PAIRS = [[4, 0, 9], [7], [2, 1, 8, 3], [6, 5], [10, 11]]
N_PAIRS = 12
RECORD = {"versions": {"torch": "0"}, "threads": 1, "ids": [str(row) for row in range(N_PAIRS)]}
SUMMARY = {"headline": {"measure": "cosine", "spearman": 0.5, "ci_low": None}}
TEXTS = {"layers.csv": "layer,measure\n1,cosine\n", "report.md": "# Ähnlichkeit\n", "curve.svg": "<svg/>\n"}


def make_config(objective: str = "nll") -> RunConfig:
    scoring = Scoring(objective, measures=MEASURES)
    return RunConfig({"name": "made-up", "split": "test", "n": N_PAIRS}, {"name": "tiny"}, scoring)


def pair_values(pair: int, column: str, width: int) -> list[float | None]:
    """Numbers that are different for each pair and column, with a null here and there."""
    rng = random.Random(f"{pair} {column}")
    return [None if rng.random() < 0.1 else rng.uniform(-1, 1) for _ in range(width)]


def make_table(pairs: list[int], **columns: pa.Array) -> pa.Table:
    def floats(name: str) -> pa.Array:
        return pa.array([float(pair_values(pair, name, 1)[0] or 0.0) for pair in pairs])

    def lists(name: str, width: int) -> pa.Array:
        return pa.array([pair_values(pair, name, width) for pair in pairs], pa.list_(pa.float64()))

    table: dict[str, pa.Array] = {"pair": pa.array(pairs, pa.int32())}
    table |= {name: lists(name, len(GROUPS)) for name in MEASURES}
    table |= {"hidden_mean": lists("hidden_mean", 2), "embedding": floats("embedding")}
    for side in "ab":
        table[f"tokens_{side}"] = pa.array([5 + pair for pair in pairs], pa.int32())
        table[f"truncated_{side}"] = pa.array([pair % 2 == 0 for pair in pairs])
        table[f"readout_{side}"] = floats(f"readout_{side}")
    return pa.table(table | columns)


def make_pairs() -> pd.DataFrame:
    return pd.DataFrame({"id": [f"p{row}" for row in range(N_PAIRS)], "gold": np.linspace(0, 5, N_PAIRS)})


def open_store(directory: Path, objective: str = "nll", **options: object) -> RunStore:
    settings_ = {"groups": GROUPS, "part_pairs": PART_PAIRS, "record": RECORD} | options
    return RunStore.open(directory, make_config(objective), **settings_)


def score(directory: Path) -> None:
    """What a run does: the parts that are missing, then the results."""
    with open_store(directory) as store:
        for part in store.missing():
            store.write_part(part, make_table(PART_PAIRS[part]))
            print(part, flush=True)
        store.finish(make_pairs(), SUMMARY, TEXTS)


def content(directory: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest and the lock, and of all rows together."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.name not in ("manifest.json", ".lock")]
    hashes = {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    rows = repr(open_run(directory).table.to_pylist())
    return hashes | {"rows": hashlib.sha256(rows.encode()).hexdigest()}


def part_file(directory: Path, part: int) -> Path:
    (path,) = (directory / "parts").glob(f"part-{part:05d}-*.parquet")
    return path


def manifest_of(directory: Path) -> dict:
    return json.loads((directory / "manifest.json").read_bytes())


def skip_sync(descriptor: int) -> None:
    """Stands for ``os.fsync``: these tests end processes, not the machine, and need not wait for the disk."""
    sys.audit("test.fsync", descriptor)


def refused(error: type[Exception], *fragments: str):
    """``pytest.raises`` for a message that has all the fragments, in this order."""
    return pytest.raises(error, match=".*".join(fragments))


class KillAfter:
    """An audit hook that kills this process at the n-th operation on a file, counted over opening, syncing, moving."""

    def __init__(self, operations: float) -> None:
        self.left = operations
        self.count = 0

    def __call__(self, event: str, arguments: tuple) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock", "test.fsync"):
            self.count += 1
            self.left -= 1
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def score_until_killed(directory: Path, operations: float, report: int) -> None:
    """Score in a process that dies at the given operation; a process that lives on reports how many there were."""
    hook = KillAfter(operations)
    os.fsync = skip_sync
    sys.stdout = io.StringIO()
    sys.addaudithook(hook)
    score(directory)
    hook.left = math.inf
    os.write(report, str(hook.count).encode())
    os._exit(0)


def attempt(directory: Path, operations: float) -> int | None:
    """Run ``score_until_killed`` in a forked process: the number of operations, or None if it was killed."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            score_until_killed(directory, operations, write_end)
        finally:
            os._exit(3)
    os.close(write_end)
    reported = os.read(read_end, 100)
    os.close(read_end)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    assert os.WEXITSTATUS(status) == 0, f"the writer failed in {directory}"
    return int(reported)


def kill_and_resume(root: Path) -> None:
    """Print, as JSON, for each of 10 seeds: how often the run was killed, and whether the manifest was ever broken.

    The first line is the number of operations of an undisturbed run. This process itself never uses Arrow, so that
    its forks start without threads.
    """
    total = attempt(root / "whole", math.inf)
    assert total is not None
    print(total)
    for seed in range(10):
        rng, directory, kills, broken = random.Random(seed), root / str(seed), 0, 0
        while attempt(directory, rng.randint(1, total)) is None:
            kills += 1
            manifest = directory / "manifest.json"
            try:
                broken += manifest.exists() and "status" not in json.loads(manifest.read_bytes())
            except ValueError:
                broken += 1
        print(json.dumps({"seed": seed, "kills": kills, "broken": broken}))


def program(*arguments: object, **options: object) -> subprocess.Popen:
    command = [sys.executable, str(Path(__file__).resolve()), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, **options)


if __name__ == "__main__":
    command, target = sys.argv[1:]
    if command == "score":
        score(Path(target))
    elif command == "kill-and-resume":
        kill_and_resume(Path(target))
    else:
        with open_store(Path(target)):
            print("held", flush=True)
            sys.stdin.read()
