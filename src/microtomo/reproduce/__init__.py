"""Published work computed again, ours beside: a file or a folder each."""
