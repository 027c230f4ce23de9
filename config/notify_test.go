package config

import (
	"strings"
	"testing"
)

func TestValidateNotify(t *testing.T) {
	t.Parallel()
	good := func() Notify {
		return Notify{
			FailureRate: 0.05,
			Webhooks: []Webhook{{Name: "ops", URL: NewSecret("https://hooks.example.org/hunter2"), Secret: "env:OPS", Previous: "file:/etc/old",
				Kinds: []string{"job.finished"}}},
			SMTP:  SMTP{Host: "mail.example.org:587", User: "u", Password: "credential:smtp", From: "Tranship <t@example.org>", TLS: "starttls"},
			Mails: []Mail{{Name: "night-shift", To: []string{"ops@example.org"}}},
		}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		want   string // of the error
		change func(n *Notify)
	}{
		{"notify.failure_rate: 1 is not", func(n *Notify) { n.FailureRate = 1 }},
		{"notify.failure_rate: -0.1 is not", func(n *Notify) { n.FailureRate = -0.1 }},
		{"notify.webhooks[0].name", func(n *Notify) { n.Webhooks[0].Name = "" }},
		{`notify.mails[0].name: "ops" is the name of another`, func(n *Notify) { n.Mails[0].Name = "ops" }},
		{"notify.webhooks[0].url: not a URL", func(n *Notify) { n.Webhooks[0].URL = NewSecret("hunter2") }},
		{"notify.webhooks[0].url: must begin with https://", func(n *Notify) { n.Webhooks[0].URL = NewSecret("http://hunter2") }},
		{"notify.webhooks[0].secret: a secret does not stand here", func(n *Notify) { n.Webhooks[0].Secret = "whsec_hunter2" }},
		{"notify.webhooks[0].previous: a secret does not stand here", func(n *Notify) { n.Webhooks[0].Previous = "whsec_hunter2" }},
		{`notify.webhooks[0].kinds: unknown kind of notice "job.done"`, func(n *Notify) { n.Webhooks[0].Kinds = []string{"job.done"} }},
		{"notify.mails[0].to: must name", func(n *Notify) { n.Mails[0].To = nil }},
		{"notify.mails[0].to", func(n *Notify) { n.Mails[0].To = []string{"ops@example.org\r\nBcc: x@example.org"} }},
		{"notify.mails[0].kinds", func(n *Notify) { n.Mails[0].Kinds = []string{"test"} }},
		{"notify.smtp.host", func(n *Notify) { n.SMTP.Host = "" }},
		{"notify.smtp.host", func(n *Notify) { n.SMTP.Host = "mail.example.org" }},
		{"notify.smtp.from", func(n *Notify) { n.SMTP.From = "" }},
		{"notify.smtp.tls", func(n *Notify) { n.SMTP.TLS = "maybe" }},
		{"notify.smtp.tls: without TLS", func(n *Notify) { n.SMTP.TLS = "none" }},
		{"notify.smtp.password: user and password", func(n *Notify) { n.SMTP.User = "" }},
		{"notify.smtp.password: a secret does not stand here", func(n *Notify) { n.SMTP.Password = "hunter2" }},
	}
	for _, tt := range tests {
		n := good()
		tt.change(&n)
		err := n.Validate()
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Validate = %v, want an error that says %q and no secret", err, tt.want)
		}
	}
	n := good()
	n.SMTP.User, n.SMTP.Password, n.SMTP.TLS = "", "", "none"
	if err := n.Validate(); err != nil {
		t.Errorf("a server where nobody signs in needs TLS: %v", err)
	}
	if err := (Notify{SMTP: SMTP{TLS: "starttls"}}).Validate(); err != nil {
		t.Errorf("nobody to tell: %v", err)
	}
}
