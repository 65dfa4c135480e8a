"""The numbers: read-outs, capture, patterns, moments and measures. Knows torch and nothing of files or the screen."""
