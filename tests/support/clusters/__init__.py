"""What controllers in a cluster make of the configurations in `deploy/gateways/`, for the Envoy and nginx here.

No controller runs here. What the generators of Envoy Gateway and Istio write was made once and is kept. For
ingress-nginx it is our reading of its template: what runs then proves that this way of configuring nginx holds, and
not that the controller writes it so.
"""
