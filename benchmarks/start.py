"""Start: seconds until ``actsim --help`` and until ``actsim score`` have printed, beside torch and transformers alone.

    python -m benchmarks.start
    python -m benchmarks.start --python .venv/bin/python --python ../before/.venv/bin/python

Every process is new; they take turns, and the first round, which fills the byte-code caches, does not count. Each runs
on one thread and asks no network. The floor imports torch and transformers, loads the same model and runs one forward
and backward pass, with no search for garbage. Prints a Markdown table: medians, lowest and highest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from actsim.models.locate import DEFAULT_MODEL, locate

SENTENCES = ("A cat sits.", "A dog runs.")

MEASURED = """
import sys
try:
{body}
finally:
    import json, resource, time
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([used.ru_utime + used.ru_stime, time.monotonic()]), file=sys.stderr)
"""
"""A program that says, once its body has printed and before the interpreter clears up, what it has taken."""

ACTSIM = """
    from actsim_cli.main import run
    run()
"""

FLOOR = """
    import gc
    gc.disable()
    import torch, transformers
    model = transformers.AutoModel.from_pretrained(sys.argv[1])
    tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
    batch = tokenizer(sys.argv[2:], padding=True, return_tensors="pt")
    model(**batch).last_hidden_state.norm().backward()
    print("done", flush=True)
"""


@dataclass(frozen=True)
class Start:
    """Seconds of one process.

    Attributes:
        cpu: user and system time until everything is printed.
        wall: from its start until then.
        whole: user and system time until it has ended.
    """

    cpu: float
    wall: float
    whole: float


def measure(python: str, body: str, arguments: Sequence[str]) -> Start:
    """One process of the interpreter ``python``; exits where it fails."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [python, "-P", "-c", MEASURED.format(body=body.strip("\n")), *arguments]
    begun = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{python} {' '.join(arguments)} failed: {said}")
    cpu, printed = json.loads(said.strip().splitlines()[-1])
    return Start(cpu, printed - begun, used.ru_utime + used.ru_stime)


def rounds(pythons: Sequence[str], count: int) -> dict[tuple[str, str], list[Start]]:
    """What is started -> its processes, one per round; the floor is that of the first interpreter."""
    folder = str(locate(DEFAULT_MODEL).folder)
    found: dict[tuple[str, str], list[Start]] = {}
    for number in range(count + 1):
        started = {("floor", pythons[0]): measure(pythons[0], FLOOR, [folder, *SENTENCES])}
        for python in pythons:
            started["actsim --help", python] = measure(python, ACTSIM, ["--help"])
            started["actsim score", python] = measure(python, ACTSIM, ["score", *SENTENCES])
        if number:
            for name, start in started.items():
                found.setdefault(name, []).append(start)
    return found


def spread(values: Sequence[float]) -> str:
    """Median, lowest and highest."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def table(found: dict[tuple[str, str], list[Start]]) -> str:
    """The Markdown table; ratios are taken round by round."""
    floor = next(starts for (what, _), starts in found.items() if what == "floor")
    lines = [
        "| started | CPU s until printed | over the floor | wall s until printed | CPU s until ended |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (what, python), starts in sorted(found.items()):
        ratios = [start.cpu / least.cpu for start, least in zip(starts, floor, strict=True)]
        cells = (
            f"{what}, {python}",
            spread([start.cpu for start in starts]),
            spread(ratios),
            spread([start.wall for start in starts]),
            spread([start.whole for start in starts]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the options, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="rounds that count (default 5)")
    parser.add_argument(
        "--python", action="append", help="an interpreter that has actsim; may be repeated; default this one"
    )
    options = parser.parse_args()
    print(table(rounds(options.python or [sys.executable], options.runs)))


if __name__ == "__main__":
    main()
