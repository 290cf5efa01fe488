"""Numerical solvers, one a file."""
