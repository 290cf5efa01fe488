"""The SEM microtomography report, computed again from seeds: one file a table or figure."""
