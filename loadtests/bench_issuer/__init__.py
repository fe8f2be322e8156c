"""`make bench-issuer`: logins, overload and refreshes of the issuer beside what bounds each of them."""
