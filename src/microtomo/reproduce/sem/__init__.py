"""The SEM microtomography report, computed again from seeds, and what it left open."""
