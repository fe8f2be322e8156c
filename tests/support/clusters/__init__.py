"""What controllers in a cluster make of the configurations in `deploy/gateways/`, for the Envoy and nginx here.

The controllers cannot run here. These modules are our reading of their source, and each names it: what runs proves
that this way of configuring Envoy or nginx holds, and not that the controller writes it so. What the configuration
says is taken from it; only what the controller does on its own is written here.
"""
