"""Mail to users. No response to a request waits for it.

`templates` has the texts, `outbox` sends queued mail by a `transport`, `limits` bounds the mail to one recipient.
"""
