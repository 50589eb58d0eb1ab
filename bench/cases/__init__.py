"""One file for each topic; a file that is put here is found by itself."""
