"""Training watched from inside: record, store, diagnose."""
