"""Side-by-side benchmarks of the verifier and the issuer; loadtests/README.md explains."""
