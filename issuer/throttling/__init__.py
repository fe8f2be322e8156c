"""Rate limits on logins and on other requests without an access token."""
