"""Authorization server metadata (RFC 8414)."""

import pytest

from issuer.oauth.metadata import MetadataRoutes, endpoint_urls, metadata, metadata_path


@pytest.mark.parametrize(
    ("issuer", "path"),
    [
        ("https://issuer.example", "/.well-known/oauth-authorization-server"),
        ("https://issuer.example/", "/.well-known/oauth-authorization-server"),
        ("https://issuer.example/tenant/1", "/.well-known/oauth-authorization-server/tenant/1"),
        ("https://issuer.example/tenant/", "/.well-known/oauth-authorization-server/tenant"),
    ],
)
def test_rfc8414_3_1_the_well_known_segment_precedes_the_issuers_path(issuer: str, path: str) -> None:
    assert metadata_path(issuer) == path
    assert [route.path for route in MetadataRoutes(issuer).routes()] == [path]
    assert metadata(issuer)["issuer"] == issuer


def test_rfc8414_2_the_document_says_how_to_use_each_endpoint() -> None:
    algorithms = ["RS256", "PS256", "ES256"]
    assert metadata("https://issuer.example") == {
        "issuer": "https://issuer.example",
        "token_endpoint": "https://issuer.example/token",
        "jwks_uri": "https://issuer.example/.well-known/jwks.json",
        "revocation_endpoint": "https://issuer.example/revoke",
        "introspection_endpoint": "https://issuer.example/introspect",
        "status_list_aggregation_endpoint": "https://issuer.example/status-lists",
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt", "none"],
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt", "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
    }


@pytest.mark.parametrize("path", ["/t", "/t/"])
def test_every_endpoint_with_client_authentication_is_an_assertion_audience(path: str) -> None:
    assert endpoint_urls(f"https://issuer.example{path}") == {
        f"https://issuer.example{path}",
        "https://issuer.example/t/token",
        "https://issuer.example/t/revoke",
        "https://issuer.example/t/introspect",
    }
