"""What a stack of layers does to a beam, and what a detector records of it."""
