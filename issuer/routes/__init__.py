"""HTTP in, HTTP out: each route parses, asks one use case and writes the answer. No decisions."""
