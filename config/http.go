package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Hosts returns the names that the API and the page go by.
func (h HTTP) Hosts() []string {
	var names []string
	if host, _, err := net.SplitHostPort(h.Listen); err == nil && host != "" {
		names = append(names, host)
	}
	if u, err := url.Parse(h.URL); err == nil && u.Hostname() != "" {
		names = append(names, u.Hostname())
	}
	return names
}

// On reports whether a server is to prove who it is.
func (t TLS) On() bool { return t.Certificate != "" }

func (h HTTP) checkListen() error {
	loopback, err := isLoopback(h.Listen)
	if err != nil || loopback {
		return err
	}
	if h.Open {
		return fmt.Errorf("%s is a public address, and with http.open nobody is asked for a token: set http.open to false, or listen on 127.0.0.1", h.Listen)
	}
	if !h.TLS.On() {
		return fmt.Errorf("%s is a public address, and tokens must not travel in the clear: set http.tls.certificate and http.tls.key, "+
			"or listen on 127.0.0.1 behind a proxy with TLS and set http.url", h.Listen)
	}
	return nil
}

func (h HTTP) checkURL() error {
	if h.URL == "" {
		return nil
	}
	u, err := url.Parse(h.URL)
	if err != nil || u.User != nil { // what it holds may be a secret
		return errors.New("not a URL such as https://tranship.example.org, which holds no credentials")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not a URL such as https://tranship.example.org, without a path", h.URL)
	}
	if u.Scheme == "http" && !loopbackHost(u.Hostname()) {
		return fmt.Errorf("%s: tokens must not travel in the clear: use https://", h.URL)
	}
	return nil
}

// checkServer reports files that are only half of what a server needs.
func (t TLS) checkServer() error {
	if (t.Certificate == "") != (t.Key == "") {
		return errors.New("set both certificate and key, or neither")
	}
	return nil
}
