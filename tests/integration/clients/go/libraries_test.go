// golang.org/x/oauth2 and go-oidc, used as their manuals say, with a real issuer. test_go_libraries.py starts both.
package clients

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

var given struct {
	Issuer, Audience, ClientID, Secret string
	Logins                             []struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
}

func TestMain(m *testing.M) {
	if err := json.Unmarshal([]byte(os.Getenv("GATEPASS_TEST")), &given); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func machine() clientcredentials.Config {
	return clientcredentials.Config{ClientID: given.ClientID, ClientSecret: given.Secret, TokenURL: given.Issuer + "/token"}
}

// user is a public client, with the way of authentication that oauth2 finds by itself, or the given one.
func user(style oauth2.AuthStyle) oauth2.Config {
	endpoint := oauth2.Endpoint{TokenURL: given.Issuer + "/token", AuthStyle: style}
	return oauth2.Config{ClientID: "first-party", Endpoint: endpoint}
}

func expectError(t *testing.T, err error, status int, code string) {
	t.Helper()
	var rejected *oauth2.RetrieveError
	if !errors.As(err, &rejected) || rejected.ErrorCode != code || rejected.Response.StatusCode != status {
		t.Fatalf("not %d %s: %v", status, code, err)
	}
}

func TestOAuth2GetsATokenWithASecret(t *testing.T) {
	config := machine()
	config.Scopes = []string{"orders:read"}
	config.EndpointParams = url.Values{"resource": {given.Audience}}
	token, err := config.Token(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if !token.Valid() || token.Type() != "Bearer" || token.Extra("scope") != "orders:read" {
		t.Fatal(token.Type(), token.Expiry, token.Extra("scope"))
	}
}

// Where no style is set, oauth2 repeats every rejected request with the secret in the body, and reports that error.
func TestOAuth2ReadsErrorCodes(t *testing.T) {
	config := machine()
	config.AuthStyle = oauth2.AuthStyleInHeader
	config.Scopes = []string{"admin"}
	_, err := config.Token(context.Background())
	expectError(t, err, http.StatusBadRequest, "invalid_scope")
	config.Scopes, config.ClientSecret = nil, "wrong"
	_, err = config.Token(context.Background())
	expectError(t, err, http.StatusUnauthorized, "invalid_client")
}

func TestOAuth2RefreshesAnExpiredTokenUntilTheSessionIsRevoked(t *testing.T) {
	for index, style := range []oauth2.AuthStyle{oauth2.AuthStyleAutoDetect, oauth2.AuthStyleInParams} {
		login, config, ctx := given.Logins[index], user(style), context.Background()
		expired := &oauth2.Token{RefreshToken: login.RefreshToken, Expiry: time.Now().Add(-time.Hour)}
		source := config.TokenSource(ctx, expired)
		token, err := source.Token()
		if err != nil {
			t.Fatal(err)
		}
		if token.RefreshToken == login.RefreshToken {
			t.Fatal("the refresh token is the same")
		}
		response, err := oauth2.NewClient(ctx, source).Get(given.Issuer + "/me")
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatal(response, err)
		}
		response, err = oauth2.NewClient(ctx, source).Post(given.Issuer+"/logout", "", nil)
		if err != nil || response.StatusCode != http.StatusNoContent {
			t.Fatal(response, err)
		}
		token.Expiry = expired.Expiry
		_, err = config.TokenSource(ctx, token).Token()
		expectError(t, err, http.StatusBadRequest, "invalid_grant")
	}
}

func TestGoOIDCVerifiesAnAccessToken(t *testing.T) {
	ctx, config := context.Background(), machine()
	token, err := config.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	keys := oidc.NewRemoteKeySet(ctx, given.Issuer+"/.well-known/jwks.json")
	verifier := oidc.NewVerifier(given.Issuer, keys, &oidc.Config{ClientID: given.Audience})
	verified, err := verifier.Verify(ctx, token.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ Scope string }
	if err := verified.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if verified.Subject != given.ClientID || claims.Scope != "orders:read orders:write" {
		t.Fatal(verified.Subject, claims.Scope)
	}
	parts := strings.Split(token.AccessToken, ".")
	parts[2] = strings.Repeat("A", len(parts[2]))
	if _, err := keys.VerifySignature(ctx, strings.Join(parts, ".")); err == nil {
		t.Fatal("a changed signature was accepted")
	}
	other := oidc.NewVerifier(given.Issuer, keys, &oidc.Config{ClientID: "https://shop.example"})
	if _, err := other.Verify(ctx, token.AccessToken); err == nil {
		t.Fatal("a token for another audience was accepted")
	}
}
