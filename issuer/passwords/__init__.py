"""PasswordHasher: the only importer of argon2 and bcrypt."""
