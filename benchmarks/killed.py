"""Kill a run at random moments, start it again until it is finished, and compare it with one that was left alone.

    python benchmarks/killed.py --kills 20 -- eval sample --limit 120

Everything after ``--`` is given to actsim. Prints one line per kill and whether scores, pairs, summary and tables are
equal byte for byte; exits with 1 where they are not.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMPARED = ("summary.json", "layers.csv", "kinds.csv", "pairs.parquet", "layers.svg")


def contents(directory: Path) -> dict[str, str]:
    """SHA-256 of every score part and result by its path in the run."""
    files = [*sorted((directory / "parts").glob("part-*.parquet")), *(directory / name for name in COMPARED)]
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(command: list[str], kill_after: float | None) -> int:
    """The exit status of ``command``, killed with SIGKILL after some seconds; negative where it was killed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, errors = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return -signal.SIGKILL
    if process.returncode != 0:
        sys.exit(f"the run failed: {errors.decode()}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many kills (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("arguments", nargs="+", help="arguments of actsim, after --")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        alone, killed = Path(folder) / "alone", Path(folder) / "killed"
        command = [sys.executable, "-c", "from actsim_cli.main import run; run()", *options.arguments]
        started = time.monotonic()
        run([*command, "--out", str(alone)], None)
        whole = time.monotonic() - started
        kills = finished = different = 0
        while kills < options.kills:
            moment = moments.uniform(0.0, whole)
            status = run([*command, "--out", str(killed)], moment)
            parts = len(list((killed / "parts").glob("part-*.parquet")))
            if status < 0:
                kills += 1
                print(f"kill {kills}: after {moment / whole:.0%} of a whole run, {parts} parts on disk", flush=True)
                continue
            finished += 1
            different += contents(killed) != contents(alone)
            killed = Path(folder) / f"killed-{finished}"
        run([*command, "--out", str(killed)], None)
        finished += 1
        different += contents(killed) != contents(alone)
    print(f"{kills} kills, {finished} runs resumed to the end, {different} of them different from the one left alone")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
