"""Other people's frameworks: each has a package here, the only place that imports it."""
