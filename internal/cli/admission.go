package cli

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/tranship/tranship/coordinator"
)

// admission returns how agents join the fleet of this hub.
func (h *hub) admission() coordinator.Admission {
	a := coordinator.Admission{Directions: h.directions}
	switch {
	case h.server != nil && h.cfg.NATS.Listen == "":
		a.Why = "NATS is reached by this process alone"
	case h.authority != nil: // a nil pointer in the interface would not be nil
		a.Authority = h.authority
	case h.server != nil:
		a.Why = "the embedded NATS server lets in whoever reaches it (nats.auth is open)"
	default:
		a.Why = "nats.account and nats.signing_key are not set, which credentials for the servers at nats.url are signed with"
	}
	return a
}

// directions says where agents find this hub.
func (h *hub) directions() (coordinator.Directions, error) {
	n, page := h.cfg.NATS, h.cfg.HTTP
	d := coordinator.Directions{Server: h.address(), Domain: n.Domain, NATS: h.natsURL()}
	var cerr, serr, perr error
	d.CA, cerr = optionalFile(n.TLS.CA)
	d.ServerCA, serr = optionalFile(page.TLS.CA)
	if u, err := url.Parse(d.Server); err == nil && u.Scheme == "https" && page.TLS.Certificate != "" {
		d.Pin, perr = pinIfNeeded(page.TLS.Certificate, u.Hostname())
	}
	d.Notes = append(notesOn("the coordinator", d.Server, "http.listen, http.tls and http.url"),
		notesOn("NATS", d.NATS, "nats.listen, nats.tls and nats.advertise")...)
	return d, errors.Join(cerr, serr, perr)
}

// natsURL returns where agents of other machines find the queue.
func (h *hub) natsURL() string {
	n := h.cfg.NATS
	switch {
	case n.Advertise != "":
		return n.Advertise
	case !n.URL.IsZero():
		return withoutUser(n.URL.Reveal())
	case h.server == nil:
		return ""
	}
	at := h.server.URL()
	if _, rest, ok := strings.Cut(at, "://"); ok && n.TLS.Certificate != "" {
		return "tls://" + rest
	}
	return at
}

// withoutUser leaves the user names and passwords out of a list of URLs: they
// are the coordinator's own.
func withoutUser(list string) string {
	urls := strings.Split(list, ",")
	for i, s := range urls {
		if u, err := url.Parse(strings.TrimSpace(s)); err == nil { // Validate has seen them
			u.User = nil
			urls[i] = u.String()
		}
	}
	return strings.Join(urls, ",")
}

// notesOn says that agents elsewhere cannot reach what is at these URLs.
func notesOn(what, list, keys string) []string {
	for s := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(s)
		if err != nil {
			continue
		}
		ip := net.ParseIP(u.Hostname())
		if isLoopback(u.Hostname()) || ip != nil && ip.IsUnspecified() {
			return []string{fmt.Sprintf("%s is at %s: only an agent on the coordinator's machine finds it there; for others set %s", what, s, keys)}
		}
	}
	return nil
}

// optionalFile returns what is in a file; nothing if none is named.
func optionalFile(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	return string(b), err
}
