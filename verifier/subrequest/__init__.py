"""The gateway's subrequest: HTTP in, HTTP out."""
