"""Real providers of tokens on loopback, and real logins at them: Keycloak, npm's oidc-provider, Ory Hydra."""
