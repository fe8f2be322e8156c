"""Rate limits on logins and on requests that anyone can make."""
