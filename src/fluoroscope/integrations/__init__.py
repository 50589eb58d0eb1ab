"""Other programs and formats: what they write is read, what they read is written."""
