"""The sentence pairs that ship with actsim (``pairs.jsonl``), written for the purpose; see the README beside it."""
