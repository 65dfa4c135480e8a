"""Sentence pairs with human scores: declared benchmarks and the user's own files."""
