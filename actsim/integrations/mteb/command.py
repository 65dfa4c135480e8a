"""mteb's own command line, with actsim's names in it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from actsim.integrations.mteb.registration import register


def run_command_line(arguments: Sequence[str]) -> None:
    """Register, then let mteb's command line act on ``arguments``; what it raises, SystemExit included, passes."""
    register()
    from mteb.cli import main

    given, sys.argv = sys.argv, ["actsim mteb", *arguments]
    try:
        main()
    finally:
        sys.argv = given
