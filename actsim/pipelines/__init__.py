"""One job per module, without a screen and without option parsing; pipelines never import each other."""
