package coordinator

import (
	"fmt"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/notify"
	"github.com/tranship/tranship/internal/work"
)

// Receivers returns those whom the configuration, which is valid, wants to be
// told. It reads their secrets, once: an error names the key of one that is not
// there. lookup is os.LookupEnv outside of tests; version is the program's.
func Receivers(cfg config.Notify, lookup func(string) (string, bool), version string) (*notify.Receivers, error) {
	read := func(key, source string) (string, error) {
		secret, err := config.ReadSource(source, lookup)
		if err != nil {
			return "", fmt.Errorf("notify.%s: %w", key, err)
		}
		return secret.Reveal(), nil
	}
	var webhooks []notify.Webhook
	for i, w := range cfg.Webhooks {
		hook := notify.Webhook{Name: w.Name, URL: w.URL.Reveal(), Kinds: kindsOf(w.Kinds), Private: w.Private}
		secret, err := read(fmt.Sprintf("webhooks[%d].secret", i), w.Secret)
		if err != nil {
			return nil, err
		}
		hook.Secrets = []string{secret}
		if w.Previous != "" {
			previous, err := read(fmt.Sprintf("webhooks[%d].previous", i), w.Previous)
			if err != nil {
				return nil, err
			}
			hook.Secrets = append(hook.Secrets, previous)
		}
		webhooks = append(webhooks, hook)
	}
	smtp := notify.SMTP{Host: cfg.SMTP.Host, User: cfg.SMTP.User, From: cfg.SMTP.From, TLS: cfg.SMTP.TLS}
	if cfg.SMTP.Password != "" {
		var err error
		if smtp.Password, err = read("smtp.password", cfg.SMTP.Password); err != nil {
			return nil, err
		}
	}
	var mails []notify.Mail
	for _, m := range cfg.Mails {
		mails = append(mails, notify.Mail{Name: m.Name, To: m.To, Kinds: kindsOf(m.Kinds), SMTP: smtp})
	}
	to, err := notify.NewReceivers(webhooks, mails, version)
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	return to, nil
}

func kindsOf(names []string) (kinds []work.NoticeKind) {
	for _, n := range names {
		kinds = append(kinds, work.NoticeKind(n))
	}
	return kinds
}
