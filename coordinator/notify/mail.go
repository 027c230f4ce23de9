package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/tranship/tranship/internal/work"
)

// A Mail is a receiver that is written to.
type Mail struct {
	Name  string
	To    []string
	Kinds []work.NoticeKind // none: all
	SMTP  SMTP
}

// An SMTP is a server that mail is handed to.
type SMTP struct {
	Host     string // host:port
	User     string // empty: nobody signs in
	Password string
	From     string
	TLS      string      // starttls, tls or none
	Trust    *tls.Config // nil: the system's
}

// A mailer writes to one receiver.
type mailer struct {
	mail   Mail
	server string // host:port
	client *mail.Client
}

func newMailer(m Mail) (*mailer, error) {
	s := m.SMTP
	host, port, err := net.SplitHostPort(s.Host)
	if err != nil {
		return nil, fmt.Errorf("SMTP server %q is not host:port", s.Host)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("SMTP server %q: the port is not a number", s.Host)
	}
	options := []mail.Option{mail.WithPort(number), mail.WithTimeout(sendTimeout), mail.WithoutNoop()}
	switch s.TLS {
	case "tls":
		options = append(options, mail.WithSSL())
	case "starttls":
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	case "none":
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	}
	trust := &tls.Config{}
	if s.Trust != nil {
		trust = s.Trust.Clone()
	}
	trust.ServerName, trust.MinVersion = host, tls.VersionTLS12
	options = append(options, mail.WithTLSConfig(trust))
	if s.User != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.User), mail.WithPassword(s.Password))
	}
	client, err := mail.NewClient(host, options...)
	if err != nil {
		return nil, fmt.Errorf("use SMTP server %s: %w", s.Host, err)
	}
	w := &mailer{mail: m, server: s.Host, client: client}
	_, err = w.message(work.Delivery{Body: "{}"}) // to check the addresses
	return w, err
}

func (w *mailer) host() string { return w.server }

func (w *mailer) close() {}

// send hands one message to the server.
func (w *mailer) send(ctx context.Context, d work.Delivery) (status int, asked time.Duration, err error) {
	msg, err := w.message(d)
	if err != nil {
		return 0, 0, err
	}
	err = w.client.DialAndSendWithContext(ctx, msg)
	var refused *mail.SendError
	if errors.As(err, &refused) {
		status = refused.ErrorCode()
	}
	if err != nil {
		return status, 0, fmt.Errorf("the SMTP server did not take it: %w", err)
	}
	return 0, 0, nil
}

// message writes the mail. All tries of a delivery have one message id, by which
// readers tell repeats.
func (w *mailer) message(d work.Delivery) (*mail.Msg, error) {
	subject, text, err := letter(d.Body)
	if err != nil {
		return nil, err
	}
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := msg.From(w.mail.SMTP.From); err != nil {
		return nil, fmt.Errorf("the address that mail comes from: %w", err)
	}
	if err := msg.To(w.mail.To...); err != nil {
		return nil, fmt.Errorf("the address that mail goes to: %w", err)
	}
	_, domain, _ := strings.Cut(msg.GetFrom()[0].Address, "@")
	msg.SetMessageIDWithValue(d.Notice + "." + w.mail.Name + "@" + domain)
	msg.SetDate()
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // no out-of-office answers
	msg.Subject(subject)
	msg.SetBodyString(mail.TypeTextPlain, text)
	return msg, nil
}
