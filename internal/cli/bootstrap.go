package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/work"
)

// tokenFile is where, in the data folder, the first token lies for whoever may
// read the folder.
const tokenFile = "admin.token"

// signInLife is how long a link that signs a browser in is good.
const signInLife = 10 * time.Minute

// tokenFile returns where the first token is.
func (h *hub) tokenFile() string { return filepath.Join(h.cfg.Data, tokenFile) }

// ensureToken sees to it that somebody can let others in: a ledger without any
// token for that gets its first, in a file. One whose file was lost is replaced,
// unless other machines use the ledger: the file may be there.
func (h *hub) ensureToken(ctx context.Context) error {
	if h.cfg.HTTP.Open {
		return nil
	}
	path := h.tokenFile()
	_, err := os.Stat(path)
	lost := errors.Is(err, fs.ErrNotExist) && h.postgres != nil
	needed, err := h.ledger.NeedsToken(ctx, lost)
	if err != nil || !needed {
		return err
	}
	secret := work.NewSecret(work.SecretToken)
	// The file comes first: a token without one would help nobody.
	if err := writeSecret(path, secret); err != nil {
		return fmt.Errorf("write the first token: %w", err)
	}
	created, err := h.ledger.CreateFirstToken(ctx, work.HashSecret(secret), lost)
	if err != nil { // the token may count all the same; if not, the next start replaces the file
		return err
	}
	if !created { // another coordinator was quicker
		return os.Remove(path)
	}
	h.log.InfoContext(ctx, "the first token was made: whoever reads the file may do everything", "token", ledger.FirstToken, "file", path)
	return nil
}

// writeSecret writes a file that its owner alone can read, whole or not at all.
func writeSecret(path, secret string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // of mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(secret + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// signInLink returns the address of the page, as a link that signs a browser in
// once if there is a token here to do that with.
func (h *hub) signInLink(ctx context.Context) (string, error) {
	if h.cfg.HTTP.Open {
		return h.address(), nil
	}
	secret, err := readSecret(h.tokenFile())
	if errors.Is(err, fs.ErrNotExist) {
		return h.address(), nil
	}
	if err != nil {
		return "", err
	}
	c, err := h.ledger.Authenticate(ctx, work.HashSecret(secret))
	if errors.Is(err, work.ErrNoToken) { // it was revoked: there are others
		return h.address(), nil
	}
	if err != nil {
		return "", err
	}
	code := work.NewSecret(work.SecretCode)
	if err := h.ledger.CreateCode(ctx, c.Token, work.HashSecret(code), signInLife); err != nil {
		return "", err
	}
	return api.SignInURL(h.address(), code), nil
}

// readSecret returns the token that a file holds.
func readSecret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}
