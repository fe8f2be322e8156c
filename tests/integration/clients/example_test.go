// The Go client of docs/clients with a real issuer. test_go_example.py starts both.
package gatepass_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/app/gatepass"
	"example.com/app/notes"
)

type login struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
}

// Proxy is before the real issuer and fails every first attempt.
var given struct {
	Issuer, Proxy, Email, Password string
	Expired, Rejected, Revoked     login
}

func TestMain(m *testing.M) {
	if err := json.Unmarshal([]byte(os.Getenv("GATEPASS_TEST")), &given); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func old(l login) *gatepass.Tokens {
	return &gatepass.Tokens{AccessToken: l.AccessToken, RefreshToken: l.RefreshToken}
}

func get(session *gatepass.Session, url string) (int, string, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := session.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func getInParallel(t *testing.T, session *gatepass.Session, url string) {
	var all sync.WaitGroup
	for range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			if status, _, err := get(session, url); status != http.StatusOK {
				t.Errorf("%d %v", status, err)
			}
		}()
	}
	all.Wait()
}

func TestASessionLastsFromTheLoginToTheLogout(t *testing.T) {
	ctx := context.Background()
	var saved []*gatepass.Tokens
	save := func(tokens *gatepass.Tokens) error { saved = append(saved, tokens); return nil }
	session := gatepass.NewSession(given.Proxy, gatepass.Options{Save: save})
	if err := session.Login(ctx, given.Email, given.Password); err != nil {
		t.Fatal(err)
	}
	if _, body, err := get(session, given.Issuer+"/me"); err != nil || !strings.Contains(body, given.Email) {
		t.Fatal(body, err)
	}
	if err := errors.Join(session.Logout(ctx), session.Logout(ctx)); err != nil {
		t.Fatal(err)
	}
	if len(saved) != 2 || saved[0] == nil || saved[1] != nil {
		t.Fatal(saved)
	}
	if _, _, err := get(session, given.Issuer+"/me"); !errors.Is(err, gatepass.ErrLoginRequired) {
		t.Fatal(err)
	}
	again := gatepass.NewSession(given.Issuer, gatepass.Options{Tokens: &gatepass.Tokens{RefreshToken: saved[0].RefreshToken}})
	if _, _, err := get(again, given.Issuer+"/me"); !errors.Is(err, gatepass.ErrLoginRequired) {
		t.Fatal("the logout revoked nothing", err)
	}
}

func TestParallelRequestsShareOneRefreshWhoseResponseIsLost(t *testing.T) {
	var saved []*gatepass.Tokens
	save := func(tokens *gatepass.Tokens) error { saved = append(saved, tokens); return nil }
	session := gatepass.NewSession(given.Proxy, gatepass.Options{Tokens: old(given.Expired), Save: save})
	getInParallel(t, session, given.Proxy+"/me")
	if len(saved) != 1 {
		t.Fatal(saved)
	}
}

func TestARejectedAccessTokenIsRefreshedOnce(t *testing.T) {
	tokens := &gatepass.Tokens{
		AccessToken: "rejected", RefreshToken: given.Rejected.RefreshToken, ExpiresAt: time.Now().Add(time.Hour),
	}
	session := gatepass.NewSession(given.Proxy, gatepass.Options{Tokens: tokens})
	getInParallel(t, session, given.Issuer+"/me")
}

func TestASessionThatWasRevokedElsewhereNeedsALogin(t *testing.T) {
	session := gatepass.NewSession(given.Issuer, gatepass.Options{Tokens: old(given.Revoked)})
	if _, _, err := get(session, given.Issuer+"/me"); !errors.Is(err, gatepass.ErrLoginRequired) {
		t.Fatal(err)
	}
}

func TestAWrongPasswordFailsTheLogin(t *testing.T) {
	session := gatepass.NewSession(given.Issuer, gatepass.Options{})
	if err := session.Login(context.Background(), given.Email, "a wrong password"); !errors.Is(err, gatepass.ErrLoginFailed) {
		t.Fatal(err)
	}
}

func TestTheExampleOfThePageRuns(t *testing.T) {
	var printed bytes.Buffer
	if err := notes.Print(context.Background(), &printed, given.Email, given.Password); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(printed.String(), given.Email) {
		t.Fatal(printed.String())
	}
}
