"""The three token formats that we issue."""
