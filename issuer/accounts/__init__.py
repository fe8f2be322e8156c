"""Accounts: registration, login, password reset, changes and deletion."""
