"""One module for each revision, with its SQL beside it. A published revision never changes."""
