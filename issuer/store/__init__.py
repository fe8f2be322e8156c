"""PostgreSQL: the only door to asyncpg. SQL lives in `.sql` files, named; nothing outside knows any.

A method takes a connection for its round trip and gives it back: nobody holds one while hashing.
"""
