package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/tranship/tranship/config"
)

// addressFile is where, in the data folder, a coordinator that runs says where
// it answers. It is there while it does, and what the first token is shown to.
const addressFile = "coordinator.url"

// A resident is a coordinator that runs on this machine.
type resident struct {
	data    string // its data folder
	address string
}

// resident returns the coordinator that runs here, if this user may know of it;
// the zero resident if there is none. A folder that nobody uses is left alone:
// who knows who answers at the address instead.
func (p *program) resident() resident {
	folders := []string{config.Default().Data}
	if own, err := p.dataFolder(""); err == nil {
		folders = []string{own, folders[0]}
	}
	for _, dir := range folders {
		if address, err := readSecret(filepath.Join(dir, addressFile)); err == nil && address != "" && inUse(dir) {
			return resident{data: dir, address: address}
		}
	}
	return resident{}
}

// token returns the first token of the coordinator if it is what answers at an
// address, and this user may read it; else nothing. Whoever else listens on this
// machine is not shown it.
func (r resident) token(address string) string {
	if r.address == "" || r.address != strings.TrimRight(address, "/") {
		return ""
	}
	token, err := readSecret(filepath.Join(r.data, tokenFile))
	if err != nil {
		return ""
	}
	return token
}

// announce writes where the hub answers into its data folder, for those who name
// no server. A hub that is there for one job is not announced.
func (h *hub) announce() error {
	path := filepath.Join(h.cfg.Data, addressFile)
	if err := writeSecret(path, h.localAddress()); err != nil {
		return fmt.Errorf("write the coordinator's address: %w", err)
	}
	h.onClose(func() {
		if err := h.withdraw(); err != nil {
			h.log.Warn("the coordinator stops and is still announced", "err", err)
		}
	})
	return nil
}

// withdraw removes what this hub announced, or one before it that was killed:
// once the port is given up, anybody may listen there.
func (h *hub) withdraw() error {
	if err := os.RemoveAll(filepath.Join(h.cfg.Data, addressFile)); err != nil {
		return fmt.Errorf("remove the coordinator's address: %w", err)
	}
	return nil
}

// localAddress returns where users of this machine reach the page: without a
// proxy that is in front of it, but by the name that its certificate is of.
func (h *hub) localAddress() string {
	if h.certificate != nil && h.cfg.HTTP.URL != "" {
		return h.address()
	}
	scheme := "http://"
	if h.certificate != nil {
		scheme = "https://"
	}
	at := h.page.Addr().String()
	if host, port, err := net.SplitHostPort(at); err == nil && net.ParseIP(host).IsUnspecified() {
		at = net.JoinHostPort("127.0.0.1", port)
	}
	return scheme + at
}
