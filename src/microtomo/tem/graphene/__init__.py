"""Contaminants on graphene: filters, synthetic micrographs, atoms."""
