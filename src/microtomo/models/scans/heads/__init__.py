"""What the last layer of a network for scans means, one head a file."""
