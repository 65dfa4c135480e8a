"""What imports leave is not searched for garbage, what comes later is, and the interpreter ends as it would."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import atexit, gc, json, weakref

found = {}
atexit.register(lambda: print(json.dumps({**found, "kept at the end": gc.get_freeze_count()})))
from actsim_cli.arguments import keep_imports

class Garbage:
    def __init__(self):
        self.itself = self

found["there before"] = len(gc.get_objects())
keep_imports()
found["searched after"] = len(gc.get_objects())
found["kept"] = gc.get_freeze_count()
later = weakref.ref(Garbage())
keep_imports()
gc.collect()
found["later garbage is found"] = later() is None
found["kept after the second model"] = gc.get_freeze_count()
"""


def test_what_imports_leave_is_spared_once_and_given_back_at_the_end():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(result.stdout)
    assert found["kept"] >= found["there before"] > 10_000
    assert found["searched after"] < found["there before"] / 100
    assert found["later garbage is found"]
    assert found["kept after the second model"] <= found["kept"]
    assert found["kept at the end"] == 0


def test_a_model_is_loaded_after_the_imports_are_spared(bert):
    """The model's own objects are not among them, and no extension reports a leak at the end."""
    program = """
import gc, sys
from torch import nn
from actsim_cli.main import actsim
try:
    actsim(["score", "a dog", "a cat", "--quiet", "-m", sys.argv[1]])
except SystemExit as end:
    modules = [module for module in gc.get_objects() if isinstance(module, nn.Module)]
    print(end.code, gc.get_freeze_count() > 100_000, any(type(module).__name__ == "BertModel" for module in modules))
"""
    result = subprocess.run(
        [sys.executable, "-c", program, str(bert)], capture_output=True, text=True, check=True, timeout=120
    )
    assert result.stdout.splitlines()[-1] == "0 True True"
    assert result.stderr == ""
