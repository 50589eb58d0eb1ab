"""Programs: a recorded forward as steps that can be run again faster, or only where something changed."""
