package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/tranship/tranship/config"
)

// A certificate is read from its files, and again when they change, so that it
// can be renewed while the server runs.
type certificate struct {
	files config.TLS
	log   *slog.Logger

	mu   sync.Mutex
	held *tls.Certificate
	seen [2]fs.FileInfo // of the certificate and the key, as they were last looked at
	said string         // what was last wrong with them
}

// openCertificate reads the files for the first time.
func openCertificate(files config.TLS, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: files, log: log}
	seen, err := c.look()
	if err == nil {
		err = c.read()
	}
	if err != nil {
		return nil, err
	}
	c.seen = seen
	return c, nil
}

// config returns the settings of a server that shows the certificate.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// get returns the certificate as the files hold it now. While they make no pair,
// as half-way through a renewal, the one before is shown.
func (c *certificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen, err := c.look()
	if err == nil && c.same(seen) {
		return c.held, nil
	}
	if err == nil {
		c.seen = seen
		err = c.read()
	}
	c.tell(hello.Context(), err)
	return c.held, nil
}

// tell says whether the files could be read anew, once.
func (c *certificate) tell(ctx context.Context, err error) {
	switch {
	case err == nil:
		c.log.InfoContext(ctx, "certificate renewed", "file", c.files.Certificate)
		c.said = ""
	case err.Error() != c.said:
		c.log.ErrorContext(ctx, "certificate not renewed: the one before is still shown", "err", err)
		c.said = err.Error()
	}
}

func (c *certificate) look() (seen [2]fs.FileInfo, err error) {
	for i, path := range []string{c.files.Certificate, c.files.Key} {
		if seen[i], err = os.Stat(path); err != nil {
			return seen, err
		}
	}
	return seen, nil
}

// same reports whether the files are those that were seen last. A file that was
// put in the place of another is another one, whatever its time.
func (c *certificate) same(now [2]fs.FileInfo) bool {
	for i, was := range c.seen {
		if !os.SameFile(was, now[i]) || !was.ModTime().Equal(now[i].ModTime()) || was.Size() != now[i].Size() {
			return false
		}
	}
	return true
}

func (c *certificate) read() error {
	pair, err := tls.LoadX509KeyPair(c.files.Certificate, c.files.Key)
	if err != nil {
		return fmt.Errorf("read the certificate %s and its key: %w", c.files.Certificate, err)
	}
	c.held = &pair
	return nil
}
