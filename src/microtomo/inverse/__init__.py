"""From a scan to a reconstruction: the problem, its misfit, and what all methods share."""
