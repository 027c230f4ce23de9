package config

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"strconv"

	"github.com/tranship/tranship/internal/work"
)

// Validate reports every value of the notifications that cannot be right. It
// reads no secret.
func (n Notify) Validate() error {
	var errs []error
	check := func(key string, err error) { errs = append(errs, keyed("notify."+key, err)) }
	if n.FailureRate < 0 || n.FailureRate >= 1 {
		check("failure_rate", fmt.Errorf("%v is not a share from 0 to less than 1, such as 0.05", n.FailureRate))
	}
	named := map[string]bool{}
	name := func(s string) error {
		if named[s] {
			return fmt.Errorf("%q is the name of another receiver, too", s)
		}
		named[s] = true
		return work.CheckName("receiver", s)
	}
	for i, w := range n.Webhooks {
		at := fmt.Sprintf("webhooks[%d].", i)
		check(at+"name", name(w.Name))
		check(at+"url", w.checkURL())
		check(at+"secret", CheckSource(w.Secret))
		if w.Previous != "" {
			check(at+"previous", CheckSource(w.Previous))
		}
		check(at+"kinds", noticeKinds(w.Kinds))
	}
	for i, m := range n.Mails {
		at := fmt.Sprintf("mails[%d].", i)
		check(at+"name", name(m.Name))
		check(at+"to", addresses(m.To))
		check(at+"kinds", noticeKinds(m.Kinds))
	}
	check("smtp.tls", oneOf(n.SMTP.TLS, "starttls", "tls", "none"))
	if len(n.Mails) > 0 || n.SMTP.Host != "" {
		n.SMTP.validate(check)
	}
	return errors.Join(errs...)
}

// checkURL checks the form. The URL may hold a secret and is not quoted.
func (w Webhook) checkURL() error {
	u, err := url.Parse(w.URL.Reveal())
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return errors.New("not a URL such as https://hooks.example.org/tranship")
	case u.Scheme == "http" && !w.Private:
		return errors.New("must begin with https://; only a receiver with private: true may go without TLS")
	}
	return nil
}

func (s SMTP) validate(check func(key string, err error)) {
	host, port, err := net.SplitHostPort(s.Host)
	if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || host == "" {
		check("smtp.host", fmt.Errorf("%q is not host:port, such as mail.example.org:587", s.Host))
	}
	check("smtp.from", addresses([]string{s.From}))
	if (s.User == "") != (s.Password == "") {
		check("smtp.password", errors.New("user and password belong together: set both or neither"))
	}
	if s.Password == "" {
		return
	}
	check("smtp.password", CheckSource(s.Password))
	if s.TLS == "none" {
		check("smtp.tls", errors.New("without TLS the password would travel for everybody to read: use starttls or tls"))
	}
}

func noticeKinds(kinds []string) error {
	for _, k := range kinds {
		if _, err := work.ParseNoticeKind(k); err != nil {
			return err
		}
	}
	return nil
}

func addresses(list []string) error {
	if len(list) == 0 {
		return errors.New("must name at least one address")
	}
	for _, a := range list {
		if _, err := mail.ParseAddress(a); err != nil {
			return fmt.Errorf("%q is not a mail address such as ops@example.org", a)
		}
	}
	return nil
}
