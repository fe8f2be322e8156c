"""Envoy configurations that the generators of Envoy Gateway and Istio wrote from `deploy/gateways/`.

No controller runs here.
"""
