"""The parts of an Envoy configuration that every controller writes alike."""

from typing import Any, Final

FILTERS: Final = "type.googleapis.com/envoy.extensions.filters"


def connection_manager(routes: list[dict[str, Any]], filters: list[dict[str, Any]]) -> dict[str, Any]:
    """HTTP in, websockets too, through the filters to the routes."""
    router = {"name": "router", "typed_config": {"@type": f"{FILTERS}.http.router.v3.Router"}}
    return {
        "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [*filters, router],
        "route_config": {"virtual_hosts": [{"name": "application", "domains": ["*"], "routes": routes}]},
    }


def header_names(names: list[str]) -> dict[str, Any]:
    """A matcher of these names in any letters."""
    return {"patterns": [{"exact": name, "ignore_case": True} for name in names]}


def cluster(name: str, port: int) -> dict[str, Any]:
    """A server at a loopback port."""
    endpoint = {"endpoint": {"address": address(port)}}
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "10s", "load_assignment": assignment}


def address(port: int) -> dict[str, Any]:
    """A loopback port."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
