"""What joins several pipelines: evaluate and report."""
