"""Models: rules in random order against the real code, beside a small second description of what must hold."""
