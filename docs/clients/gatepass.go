// Package gatepass is a user's session at a Gatepass issuer: log in, send requests with the access token, log out.
//
// Copy this file into your application; it needs only the standard library of Go 1.22 or newer.
package gatepass

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxAttempts         = 4
	maxWait             = 30 * time.Second
	refreshBeforeExpiry = 30 * time.Second
	issuerTimeout       = 10 * time.Second
	maxResponseBytes    = 1 << 20
)

var (
	// ErrLoginFailed means that the email or the password is wrong.
	ErrLoginFailed = errors.New("gatepass: the email or the password is wrong")
	// ErrLoginRequired means that there is no session, or that it is over: the user has to log in.
	ErrLoginRequired = errors.New("gatepass: there is no session")
	// ErrUnavailable means that the issuer is overloaded, or asks to wait for longer than this client does.
	ErrUnavailable = errors.New("gatepass: the issuer asks to wait")
)

// Tokens are the tokens of a session.
type Tokens struct {
	AccessToken  string
	RefreshToken string
	ExpiresAt    time.Time // of the access token
}

// String returns no secret, so that none is logged by mistake.
func (Tokens) String() string { return "tokens" }

// Options of a session; the zero value is good.
type Options struct {
	// HTTP sends all requests; http.DefaultClient by default.
	HTTP *http.Client
	// Tokens of an earlier run of the application.
	Tokens *Tokens
	// Save is called with new tokens before they are used, and with nil when they are discarded.
	Save func(*Tokens) error
	// ClientID of the application, if the operator has registered one.
	ClientID string
}

// Session is the session of one user, for any number of goroutines.
type Session struct {
	issuer   string
	clientID string
	http     *http.Client
	save     func(*Tokens) error
	lock     chan struct{} // guards tokens: one refresh at a time; others wait for its result
	tokens   *Tokens
}

// NewSession returns a session at the issuer with this URL.
func NewSession(issuer string, options Options) *Session {
	session := &Session{
		issuer:   strings.TrimSuffix(issuer, "/"),
		clientID: options.ClientID,
		http:     options.HTTP,
		save:     options.Save,
		lock:     make(chan struct{}, 1),
		tokens:   options.Tokens,
	}
	if session.clientID == "" {
		session.clientID = "first-party"
	}
	if session.http == nil {
		session.http = http.DefaultClient
	}
	if session.save == nil {
		session.save = func(*Tokens) error { return nil }
	}
	return session
}

// Login logs the user in.
func (s *Session) Login(ctx context.Context, email, password string) error {
	body, err := json.Marshal(map[string]string{"email": email, "password": password, "client_id": s.clientID})
	if err != nil {
		return err
	}
	response, err := s.post(ctx, "/login", "application/json", body, false)
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusUnauthorized {
		return ErrLoginFailed
	}
	tokens, err := readTokens(response)
	if err != nil {
		return err
	}
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	return s.set(tokens)
}

// Do sends a request with the access token, as http.Client.Do does. To be repeatable, a body needs a GetBody, which
// http.NewRequest sets for bytes and strings.
func (s *Session) Do(request *http.Request) (*http.Response, error) {
	used, err := s.accessToken(request.Context(), "")
	if err != nil {
		return nil, err
	}
	response, err := s.doWith(used, request)
	if err != nil || response.StatusCode != http.StatusUnauthorized || !repeatable(request) {
		return response, err
	}
	response.Body.Close()
	refreshed, err := s.accessToken(request.Context(), used)
	if err != nil {
		return nil, err
	}
	return s.doWith(refreshed, request)
}

// Logout revokes the session. The tokens are discarded even if it fails; then the session expires later.
func (s *Session) Logout(ctx context.Context) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	if s.tokens == nil {
		return nil
	}
	// The refresh token revokes the session after the access token has expired, too.
	form := url.Values{"token": {s.tokens.RefreshToken}, "client_id": {s.clientID}}
	saved := s.set(nil)
	response, err := s.postForm(ctx, "/revoke", form)
	if err != nil {
		return err
	}
	return errors.Join(check(response), saved)
}

func (s *Session) doWith(accessToken string, request *http.Request) (*http.Response, error) {
	return repeat(request.Context(), false, repeatable(request), func() (*http.Response, error) {
		attempt := request.Clone(request.Context())
		attempt.Header.Set("Authorization", "Bearer "+accessToken)
		if request.GetBody != nil {
			body, err := request.GetBody()
			if err != nil {
				return nil, err
			}
			attempt.Body = body
		}
		return s.http.Do(attempt)
	})
}

func repeatable(request *http.Request) bool {
	return request.Body == nil || request.Body == http.NoBody || request.GetBody != nil
}

// accessToken returns an access token, refreshed if need be. A server rejected the token `rejected`; meanwhile, another
// request may have refreshed it.
func (s *Session) accessToken(ctx context.Context, rejected string) (string, error) {
	if err := s.acquire(ctx); err != nil {
		return "", err
	}
	defer s.release()
	if s.tokens == nil {
		return "", ErrLoginRequired
	}
	if time.Until(s.tokens.ExpiresAt) < refreshBeforeExpiry || s.tokens.AccessToken == rejected {
		if err := s.refresh(ctx); err != nil {
			return "", err
		}
	}
	return s.tokens.AccessToken, nil
}

func (s *Session) refresh(ctx context.Context) error {
	form := url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {s.tokens.RefreshToken},
		"client_id":     {s.clientID},
	}
	response, err := s.postForm(ctx, "/token", form)
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusBadRequest {
		var problem struct{ Error string }
		if err := json.NewDecoder(response.Body).Decode(&problem); err == nil && problem.Error == "invalid_grant" {
			return errors.Join(ErrLoginRequired, s.set(nil))
		}
	}
	tokens, err := readTokens(response)
	if err != nil {
		return err
	}
	return s.set(tokens)
}

// set saves tokens before their use.
func (s *Session) set(tokens *Tokens) error {
	err := s.save(tokens)
	s.tokens = tokens
	return err
}

func (s *Session) acquire(ctx context.Context) error {
	select {
	case s.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Session) release() { <-s.lock }

// postForm sends a form, again if its response is lost: a repeated refresh returns the same new tokens, for two minutes.
func (s *Session) postForm(ctx context.Context, path string, form url.Values) (*http.Response, error) {
	return s.post(ctx, path, "application/x-www-form-urlencoded", []byte(form.Encode()), true)
}

func (s *Session) post(
	ctx context.Context, path, contentType string, body []byte, repeatIfLost bool,
) (*http.Response, error) {
	client := *s.http
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return repeat(ctx, repeatIfLost, true, func() (*http.Response, error) {
		ctx, cancel := context.WithTimeout(ctx, issuerTimeout)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.issuer+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Content-Type", contentType)
		response, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		// Read here, so that a response that is cut off counts as lost.
		content, err := io.ReadAll(io.LimitReader(response.Body, maxResponseBytes))
		response.Body = io.NopCloser(bytes.NewReader(content))
		return response, err
	})
}

// repeat makes attempts as long as the response asks for it, and optionally after a failed connection.
func repeat(
	ctx context.Context, repeatIfLost, repeatable bool, attempt func() (*http.Response, error),
) (*http.Response, error) {
	for count := 1; ; count++ {
		response, err := attempt()
		pause, again := time.Duration(count)*500*time.Millisecond, repeatIfLost
		if err == nil {
			pause, again = retryAfter(response)
		}
		if !again || !repeatable || count == maxAttempts {
			return response, err
		}
		if err == nil {
			response.Body.Close()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func retryAfter(response *http.Response) (time.Duration, bool) {
	asksToWait := response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable
	seconds, err := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16)
	wait := time.Duration(seconds) * time.Second
	return wait, asksToWait && err == nil && wait <= maxWait
}

func check(response *http.Response) error {
	switch response.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return fmt.Errorf("%w %s seconds", ErrUnavailable, response.Header.Get("Retry-After"))
	default:
		return fmt.Errorf("gatepass: the issuer responded with %d", response.StatusCode)
	}
}

func readTokens(response *http.Response) (*Tokens, error) {
	if err := check(response); err != nil {
		return nil, err
	}
	var body struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int64  `json:"expires_in"`
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return nil, fmt.Errorf("gatepass: the issuer sent no tokens: %w", err)
	}
	expiresAt := time.Now().Add(time.Duration(body.ExpiresIn) * time.Second)
	return &Tokens{body.AccessToken, body.RefreshToken, expiresAt}, nil
}
