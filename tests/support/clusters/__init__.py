"""What controllers in a cluster make of the configurations in `deploy/gateways/`, for the Envoy and nginx here.

No controller runs here. Envoy Gateway's own translation was made once and is kept. For Istio and ingress-nginx it is
our reading of their source, which each module names: what runs then proves that this way of configuring Envoy or
nginx holds, and not that the controller writes it so.
"""
