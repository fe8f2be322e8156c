"""Mail to people. No response to a request ever waits for it.

`templates` has the words, `outbox` sends what waits, `transport` hands it over, `one_time_tokens` makes what a
mail proves, `limits` says how often one recipient is sent mail.
"""
