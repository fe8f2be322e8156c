"""HTTP plumbing without any domain: server, limits, bodies, problem documents."""
