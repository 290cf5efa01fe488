"""Every method on scans with every fault: what it scores, how honest its error bars are, and what the verdict says."""
