"""`make bench-issuer`: logins, overload and refreshes of the issuer, each compared with what limits its rate."""
