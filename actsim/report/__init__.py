"""What a run looks like: terminal tables, csv, the layer curve and the Markdown report.

Everything here is rebuilt from the ``summary`` and the manifest of a run; nothing imports torch.
"""
