"""Accounts: how people register, log in, recover, change and leave."""
