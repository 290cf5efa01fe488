"""Networks: blocks, weights and heads shared by all, and one architecture a file for scans and micrographs."""
