"""Models: where one is found, how it is loaded, which of its parameters are scored, how sentences are pooled."""
