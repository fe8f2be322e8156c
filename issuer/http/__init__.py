"""HTTP, whatever is served: listeners, limits, request bodies, problem documents."""
