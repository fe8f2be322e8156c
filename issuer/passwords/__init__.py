"""Passwords: hashes, their queue and the policy. Only this package imports argon2 and bcrypt."""
