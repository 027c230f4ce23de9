package bus

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// TLS names files in PEM, which are read again when they change.
type TLS struct {
	Certificate string // of a server, with those between it and the root
	Key         string // of a server
	CA          string // whom clients trust; empty: the system's
}

// serverTLS returns what a server proves itself with; nil without a certificate.
func serverTLS(t TLS, log *slog.Logger) (*tls.Config, error) {
	if t.Certificate == "" {
		return nil, nil
	}
	c := &certificate{files: t, log: log}
	if _, err := c.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, nil
}

// A certificate is one that is read again when its files change.
type certificate struct {
	files TLS
	log   *slog.Logger

	mu   sync.Mutex
	read [2]int64 // when each file was changed
	pair *tls.Certificate
}

// get returns the certificate as its files have it now. While they cannot be
// read, such as half-way through their replacement, the last one counts.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changed [2]int64
	var err error
	for i, path := range []string{c.files.Certificate, c.files.Key} {
		info, statErr := os.Stat(path)
		if statErr != nil {
			err = statErr
			break
		}
		changed[i] = info.ModTime().UnixNano()
	}
	if err == nil && c.pair != nil && changed == c.read {
		return c.pair, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.files.Certificate, c.files.Key)
	}
	switch {
	case err == nil:
		c.read, c.pair = changed, &pair
	case c.pair == nil:
		return nil, fmt.Errorf("certificate of the queue (nats.tls): %w", err)
	default:
		c.log.Warn("changed certificate cannot be used, going on with the one before", "certificate", c.files.Certificate, "err", err)
	}
	return c.pair, nil
}
