package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	maxAnswer     = 64 << 10 // bytes of an answer that are read, so that the connection can be used again
	secretsAtOnce = 2
)

// A Webhook is a receiver of HTTP requests.
type Webhook struct {
	Name    string
	URL     string
	Secrets []string          // whsec_ and base64; each signs
	Kinds   []work.NoticeKind // none: all
	Private bool              // it may be at an address that is not public, and without TLS
}

// A webhook sends requests to one receiver.
type webhook struct {
	url    *url.URL
	keys   [][]byte
	agent  string // who asks
	client *http.Client
}

func newWebhook(w Webhook, agent string) (*webhook, error) {
	u, err := url.Parse(w.URL)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("the URL is not one such as https://hooks.example.org/tranship")
	}
	if u.Scheme == "http" && !w.Private {
		return nil, errors.New("the URL must begin with https://; http is for private receivers, with private: true")
	}
	if len(w.Secrets) == 0 || len(w.Secrets) > secretsAtOnce {
		return nil, fmt.Errorf("it has %d secrets, not 1 or %d", len(w.Secrets), secretsAtOnce)
	}
	h := &webhook{url: u, agent: agent, client: newClient(guard{private: w.Private}, net.DefaultResolver)}
	for _, secret := range w.Secrets {
		key, err := parseSecret(secret)
		if err != nil {
			return nil, err
		}
		h.keys = append(h.keys, key)
	}
	return h, nil
}

// newClient returns a client that connects only where the guard lets it, and
// follows no redirect.
func newClient(g guard, r *net.Resolver) *http.Client {
	dialer := &net.Dialer{Timeout: sendTimeout, Control: g.control, Resolver: r}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // one of the environment would connect in our place
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: maxAnswer,
			IdleConnTimeout:        time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (h *webhook) host() string { return h.url.Host }

func (h *webhook) close() { h.client.CloseIdleConnections() }

// send makes one request. It returns the status of the answer and how long the
// receiver asks to wait before another try.
func (h *webhook) send(ctx context.Context, d work.Delivery) (status int, asked time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url.String(), strings.NewReader(d.Body))
	if err != nil {
		return 0, 0, errors.New("the request cannot be made of the URL") // the error quotes it
	}
	now := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", h.agent)
	req.Header.Set("webhook-id", d.Notice)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("webhook-signature", sign(h.keys, d.Notice, now, d.Body))
	resp, err := h.client.Do(req)
	if err != nil {
		return 0, 0, withoutURL(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // the status says all
	switch {
	case resp.StatusCode/100 == 2:
		return resp.StatusCode, 0, nil
	case resp.StatusCode/100 == 3:
		return resp.StatusCode, 0, fmt.Errorf("the receiver answered %d and another address, which is not followed: set the URL to where it leads", resp.StatusCode)
	}
	return resp.StatusCode, retryAfter(resp.Header.Get("Retry-After"), now), fmt.Errorf("the receiver answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

// withoutURL returns the cause of a client's error, which quotes the URL, and
// with it maybe a secret.
func withoutURL(err error) error {
	var at *url.Error
	switch {
	case errors.Is(err, errAddress):
		return errAddress
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the receiver did not answer within %v", sendTimeout)
	case errors.As(err, &at):
		return at.Err
	}
	return err
}

// retryAfter reads the header of that name: seconds, or a date. 0: neither.
func retryAfter(text string, now time.Time) time.Duration {
	if s, err := strconv.ParseInt(text, 10, 32); err == nil {
		return max(0, time.Duration(s)*time.Second)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
