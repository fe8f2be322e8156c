"""Token Status Lists, which publish the revoked tokens: allocation of indices, and the signed lists."""
