"""Load on the real thing: never imported by what it loads."""
