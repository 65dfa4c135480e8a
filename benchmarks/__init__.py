"""Speed and memory of the scorer against the released scripts' way of computing, in one run, as ratios."""
