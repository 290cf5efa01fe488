"""Networks for micrographs, one architecture a file."""
