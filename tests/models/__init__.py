"""Models: random sequences of operations on the real code, compared with a small model of what must hold."""
