package notify

import (
	"encoding/json"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// mails opens one mail receiver at a server.
func (b *bench) mails(m Mail) *Receivers {
	b.t.Helper()
	to, err := NewReceivers(nil, []Mail{m}, "1.0")
	b.must(err)
	return to
}

// Mail arrives once at all its readers, over each sort of connection, also if the
// server takes it only at the second try.
func TestMailArrives(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"starttls", "tls", "none"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			post, trust := openPost(t, at)
			post.refuse = 1
			smtp := SMTP{Host: post.l.Addr().String(), From: "Tranship <tranship@example.org>", TLS: at, Trust: trust}
			if at != "none" {
				smtp.User, smtp.Password = "tranship", "hunter2"
			}
			all := b.mails(Mail{Name: "night-shift", To: []string{"ops@example.org", "Grace <grace@example.org>"}, SMTP: smtp})
			b.finish(all, 1)
			b.sender(all)
			d := b.ended("night-shift")[0]
			if d.State != work.DeliverySent || d.Tries != 2 {
				t.Fatalf("the delivery ended as %+v, want it sent at the second try", d)
			}
			got := post.posted()
			if len(got) != 1 {
				t.Fatalf("%d messages arrived, want 1", len(got))
			}
			p := got[0]
			if p.user != smtp.User || p.password != smtp.Password || p.secure != (at != "none") ||
				!strings.Contains(p.from, "<tranship@example.org>") || len(p.to) != 2 || !strings.Contains(p.to[1], "<grace@example.org>") {
				t.Errorf("it was posted as %+v", p)
			}
			msg, text := p.read(t)
			if got, want := msg.Header.Get("Subject"), "[tranship] job 1 photos: finished, 0 objects copied"; got != want {
				t.Errorf("the subject is %q, want %q", got, want)
			}
			if id := msg.Header.Get("Message-Id"); id != "<"+d.Notice+".night-shift@example.org>" {
				t.Errorf("the message id is %s", id)
			}
			if !strings.Contains(text, "from     mem://a") || !strings.Contains(text, "https://tranship.test/jobs/1") || strings.Contains(text, "hunter2") {
				t.Errorf("the text is\n%s", text)
			}
		})
	}
}

// read returns a message and its text.
func (p posted) read(t *testing.T) (*mail.Message, string) {
	t.Helper()
	msg, err := mail.ReadMessage(strings.NewReader(p.text))
	if err != nil {
		t.Fatalf("%v:\n%s", err, p.text)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(msg.Body))
	if err != nil {
		t.Fatal(err)
	}
	return msg, string(text)
}

// The password goes to nobody but the server that it is for, and no error shows
// it.
func TestPasswordIsKept(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, server, client, password string
		trusted                        bool
		shown                          int // passwords that the server saw
	}{
		{"no STARTTLS offered", "none", "starttls", "hunter2", true, 0},
		{"no TLS", "none", "none", "hunter2", true, 0},
		{"certificate of a stranger", "tls", "tls", "hunter2", false, 0},
		{"certificate of a stranger after STARTTLS", "starttls", "starttls", "hunter2", false, 0},
		{"wrong password", "starttls", "starttls", "wrong", true, 1},
	}
	for _, tt := range tests {
		post, trust := openPost(t, tt.server)
		if !tt.trusted {
			trust = nil
		}
		w, err := newMailer(Mail{Name: "ops", To: []string{"ops@example.org"},
			SMTP: SMTP{Host: post.l.Addr().String(), User: "u", Password: tt.password, From: "tranship@example.org", TLS: tt.client, Trust: trust}})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = w.send(t.Context(), work.Delivery{Notice: "msg_1", Body: "{}"})
		if err == nil || strings.Contains(err.Error(), tt.password) || len(post.posted()) > 0 {
			t.Errorf("%s: send = %v, %d messages arrived", tt.name, err, len(post.posted()))
		}
		post.mu.Lock()
		if n := len(post.passwords); n != tt.shown {
			t.Errorf("%s: the server saw %d passwords, want %d", tt.name, n, tt.shown)
		}
		post.mu.Unlock()
	}
}

// What is to be sent by TLS is not sent without, also where nobody signs in.
func TestMailWaitsForTLS(t *testing.T) {
	t.Parallel()
	post, trust := openPost(t, "none")
	w, err := newMailer(Mail{Name: "ops", To: []string{"ops@example.org"},
		SMTP: SMTP{Host: post.l.Addr().String(), From: "tranship@example.org", TLS: "starttls", Trust: trust}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = w.send(t.Context(), work.Delivery{Notice: "msg_1", Body: "{}"}); err == nil || len(post.posted()) > 0 {
		t.Errorf("send = %v, %d messages arrived", err, len(post.posted()))
	}
}

// No text of a stranger makes a header, or a second message.
func TestMailHeadersCannotBeForged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	post, _ := openPost(t, "none")
	w, err := newMailer(Mail{Name: "ops", To: []string{"ops@example.org"},
		SMTP: SMTP{Host: post.l.Addr().String(), From: "tranship@example.org", TLS: "none"}})
	b.must(err)
	const evil = "photos\r\nBcc: all@example.org\r\n\r\nhello\r\n.\r\nMAIL FROM:<x@example.org>\r\n"
	raw, err := json.Marshal(body{Type: work.NoticeFinished, Data: data{Summary: evil, Job: &job{Source: evil, Error: evil}, URL: evil}})
	b.must(err)
	name, err := bodyOf(work.Notice{ID: "msg_1", Kind: work.NoticeFinished, At: time.Now(),
		Job: work.Job{ID: 7, Name: evil + "\u202e", Source: "s3://a", Error: evil}, Faults: []work.Tally{{Name: "denied", Count: 3, Key: evil, Text: evil}}}, "")
	b.must(err)
	for _, text := range []string{string(raw), name} { // also if a text was not made harmless before
		if _, _, err := w.send(t.Context(), work.Delivery{Notice: "msg_1", Body: text}); err != nil {
			t.Errorf("send = %v", err)
		}
	}
	got := post.posted()
	if len(got) != 2 {
		t.Fatalf("%d messages arrived, want 2", len(got))
	}
	for _, p := range got {
		msg, _ := p.read(t)
		if len(p.to) != 1 || msg.Header.Get("Bcc") != "" || strings.Contains(p.from, "x@") {
			t.Errorf("a header was forged: %+v", p)
		}
	}
	msg, text := got[1].read(t)
	subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if want := `[tranship] job 7 "photos\r\nBcc: all@example.org\r\n\r\nhello\r\n.\r\nMAIL FROM:<x@example.org>\r\n\u202e": finished, 0 objects copied`; err != nil || subject != want {
		t.Errorf("the subject is %q, %v, want %q", subject, err, want)
	}
	if strings.Contains(text, "\u202e") || strings.Contains(text, "\nhello") {
		t.Errorf("the text is\n%s", text)
	}
}

// A mail receiver that cannot work is refused at the start.
func TestMailIsRefused(t *testing.T) {
	t.Parallel()
	good := Mail{Name: "ops", To: []string{"ops@example.org"}, SMTP: SMTP{Host: "mail.example.org:587", From: "tranship@example.org", TLS: "starttls"}}
	if _, err := newMailer(good); err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(m *Mail){
		"SMTP server":     func(m *Mail) { m.SMTP.Host = "mail.example.org" },
		"port":            func(m *Mail) { m.SMTP.Host = "mail.example.org:smtp" },
		"mail goes to":    func(m *Mail) { m.To = []string{"ops@example.org\r\nBcc: x@example.org"} },
		"mail comes from": func(m *Mail) { m.SMTP.From = "nobody" },
	}
	for want, change := range tests {
		m := good
		change(&m)
		if _, err := NewReceivers(nil, []Mail{m}, ""); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "ops") {
			t.Errorf("%v, want an error that says %q", err, want)
		}
	}
}
