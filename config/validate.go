package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Validate reports every value that cannot be right, each with its key. It
// never names a secret.
func (c Config) Validate() error {
	return errors.Join(
		keyed("data", notEmpty(c.Data)),
		keyed("log.level", oneOf(c.Log.Level, "debug", "info", "warn", "error")),
		keyed("log.format", oneOf(c.Log.Format, "text", "json")),
		keyed("postgres.url", postgresURL(c.Postgres.URL)),
		keyed("postgres.connections", between(c.Postgres.Connections, 2, 1000)),
		keyed("postgres.timeout", within(c.Postgres.Timeout, time.Second, time.Hour)),
		keyed("nats.url", natsURL(c.NATS.URL)),
		c.NATS.validateAccess(),
		keyed("nats.domain", work.CheckName("domain", c.NATS.Domain)),
		keyed("nats.listen", c.NATS.listen()),
		keyed("nats.replicas", oneOf(strconv.Itoa(c.NATS.Replicas), "1", "3", "5")),
		keyed("nats.ack_wait", within(c.NATS.AckWait, time.Second, time.Hour)),
		keyed("nats.max_store", between(c.NATS.MaxStore, 1<<30, 1<<50)),
		keyed("http.listen", c.HTTP.checkListen()),
		keyed("http.url", c.HTTP.checkURL()),
		keyed("http.tls", c.HTTP.TLS.checkServer()),
		keyed("coordinator.window", between(c.Coordinator.Window, 1, 1_000_000)),
		keyed("coordinator.reconcile", within(c.Coordinator.Reconcile, time.Second, time.Hour)),
		keyed("coordinator.stalled", within(c.Coordinator.Stalled, 30*time.Second, 24*time.Hour)),
		c.Agent.Validate(),
	)
}

// Validate reports every value of an agent that cannot be right.
func (a Agent) Validate() error {
	var name, roots error
	if a.Name != "" {
		name = work.CheckAgent(a.Name)
	}
	for _, r := range a.Roots {
		if !filepath.IsAbs(r) {
			roots = fmt.Errorf("%q is not an absolute path", r)
		}
	}
	return errors.Join(
		keyed("agent.name", name),
		keyed("agent.site", work.CheckSite(a.Site)),
		keyed("agent.labels", work.CheckLabels(a.Labels)),
		keyed("agent.streams", between(a.Streams, 1, 10_000)),
		keyed("agent.memory", between(a.Memory, 1<<20, 1<<40)),
		keyed("agent.grace", within(a.Grace, 0, time.Hour)),
		keyed("agent.stall", within(a.Stall, time.Second, time.Hour)),
		keyed("agent.roots", roots),
		keyed("agent.metrics", a.metricsListen()),
	)
}

func keyed(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", key, err)
}

func notEmpty(s string) error {
	if s == "" {
		return errors.New("must not be empty")
	}
	return nil
}

func oneOf(s string, known ...string) error {
	if slices.Contains(known, s) {
		return nil
	}
	return fmt.Errorf("%q is not one of %s", s, strings.Join(known, ", "))
}

func between[T int | Size](v, low, high T) error {
	if v < low || v > high {
		return fmt.Errorf("%v is not between %v and %v", v, low, high)
	}
	return nil
}

func within(d Duration, low, high time.Duration) error {
	if time.Duration(d) < low || time.Duration(d) > high {
		return fmt.Errorf("%v is not between %v and %v", d, low, high)
	}
	return nil
}

// postgresURL checks the form. url.Parse's own error is not passed on, because
// it quotes the text, which holds a password.
func postgresURL(s Secret) error {
	if s.IsZero() {
		return nil
	}
	u, err := url.Parse(s.Reveal())
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return errors.New("not a URL such as postgres://user:password@host:5432/tranship?sslmode=verify-full (is a special character of the password percent-coded?)")
	}
	if strings.Trim(u.Path, "/") == "" {
		return errors.New("names no database; put its name after the host, as in postgres://user@host:5432/tranship")
	}
	return nil
}

// natsURL checks the form of one or more URLs with commas between them.
func natsURL(s Secret) error {
	if s.IsZero() {
		return nil
	}
	for one := range strings.SplitSeq(s.Reveal(), ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return errors.New("not a URL such as nats://host:4222 or tls://host:4222; several are separated by commas")
		}
	}
	return nil
}

func (a Agent) metricsListen() error {
	if a.Metrics == "" {
		return nil
	}
	loopback, err := isLoopback(a.Metrics)
	if err == nil && !loopback {
		err = fmt.Errorf("%s is a public address, and an agent's metrics have neither TLS nor tokens: listen on 127.0.0.1 and have a collector on this machine pass them on", a.Metrics)
	}
	return err
}

// isLoopback reports whether only this machine can reach a host:port. A name
// other than localhost counts as public: what it resolves to may change.
func isLoopback(addr string) (bool, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false, fmt.Errorf("%q is not an address such as 127.0.0.1:8480", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false, fmt.Errorf("%q: the port must be a number from 0 to 65535", addr)
	}
	return loopbackHost(host), nil
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
