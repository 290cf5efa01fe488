"""Published tables with ours beside, one file a table."""
