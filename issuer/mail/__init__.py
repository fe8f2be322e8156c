"""Mail to people: what is written, how it leaves, what waits, what it proves.

`letters`, `senders`, `outbox`, `one_time_tokens`. No answer to a request ever waits for any of it.
"""
