"""What the particle network says of every pixel: the order of its outputs, which maps, loss and network share."""

COVER, DEPTH, SIZE, DEVIATION = range(4)
"""Logit of the share that particles cover; logit of the depth; log2 of the diameter [px] less :data:`MIDDLE_SIZE`;
natural logarithm of the deviation of that."""

MIDDLE_SIZE = 4.0
"""Logarithm to base 2 of the diameter [px] that output SIZE gives at 0."""
