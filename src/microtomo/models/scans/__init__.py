"""Networks for scans, one architecture a file."""
