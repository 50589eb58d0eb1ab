"""One rule a file, or a few that belong together. Importing a module enters its rules."""
