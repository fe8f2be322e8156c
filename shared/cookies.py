"""Reads the `Cookie` field, in issuer and verifier alike."""


def cookie_values(field: bytes | None, name: bytes) -> list[bytes]:
    """Return the values of all cookies of this name, byte for byte; names are case-sensitive (RFC 6265 §5.4)."""
    values: list[bytes] = []
    if field is not None:
        for pair in field.split(b";"):
            key, separator, value = pair.strip(b" \t").partition(b"=")
            if separator and key == name:
                values.append(value)
    return values
