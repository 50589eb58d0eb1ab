"""Graphs from files: nothing of a file is run; what it says is checked before it is believed."""
