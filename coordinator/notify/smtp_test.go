package notify

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// A postOffice is a small SMTP server that remembers what it got.
type postOffice struct {
	t      testing.TB
	l      net.Listener
	tls    *tls.Config
	at     string // when TLS begins: starttls, tls or none
	refuse int    // so many messages are refused first
	conns  sync.WaitGroup

	mu        sync.Mutex
	letters   []posted
	passwords []string // that clients showed
}

// A posted is a message as it was handed over.
type posted struct {
	user, password, from string
	to                   []string
	text                 string
	secure               bool
}

// openPost starts a server, and returns with it what its clients trust.
func openPost(t testing.TB, at string) (*postOffice, *tls.Config) {
	t.Helper()
	made := httptest.NewTLSServer(nil) // for its certificate
	pool := x509.NewCertPool()
	pool.AddCert(made.Certificate())
	p := &postOffice{t: t, at: at, tls: &tls.Config{Certificates: made.TLS.Certificates}}
	made.Close()
	var err error
	if p.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.l.Close()
		p.conns.Wait()
	})
	p.conns.Go(func() {
		for {
			c, err := p.l.Accept()
			if err != nil {
				return
			}
			p.conns.Go(func() { p.serve(c) })
		}
	})
	return p, &tls.Config{RootCAs: pool}
}

func (p *postOffice) posted() []posted {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]posted(nil), p.letters...)
}

// serve speaks as much SMTP as a client needs.
func (p *postOffice) serve(c net.Conn) {
	defer func() { c.Close() }()
	var letter posted
	secured := func() {
		c, letter.secure = tls.Server(c, p.tls), true
	}
	if p.at == "tls" {
		secured()
	}
	in := bufio.NewReader(c)
	say := func(lines ...string) { fmt.Fprint(c, strings.Join(lines, "\r\n")+"\r\n") }
	say("220 post.test ESMTP")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			if p.at == "starttls" && !letter.secure {
				say("250-post.test", "250 STARTTLS")
			} else {
				say("250-post.test", "250 AUTH PLAIN")
			}
		case "STARTTLS":
			say("220 go on")
			secured()
			in = bufio.NewReader(c)
		case "AUTH":
			_, coded, _ := strings.Cut(rest, " ")
			b, _ := base64.StdEncoding.DecodeString(coded)
			if parts := strings.Split(string(b), "\x00"); len(parts) == 3 {
				letter.user, letter.password = parts[1], parts[2]
			}
			p.mu.Lock()
			p.passwords = append(p.passwords, letter.password)
			p.mu.Unlock()
			if letter.password == "wrong" {
				say("535 5.7.8 who are you")
				continue
			}
			say("235 welcome")
		case "MAIL":
			letter.from, letter.to = rest, nil
			say("250 ok")
		case "RCPT":
			letter.to = append(letter.to, rest)
			say("250 ok")
		case "DATA":
			say("354 go on")
			var text strings.Builder
			for line, err = in.ReadString('\n'); err == nil && line != ".\r\n"; line, err = in.ReadString('\n') {
				text.WriteString(strings.TrimPrefix(line, "."))
			}
			letter.text = text.String()
			say(p.keep(letter))
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// keep takes a message, or refuses it for now, and returns what is said to that.
func (p *postOffice) keep(letter posted) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse > 0 {
		p.refuse--
		return "451 4.7.1 come again later"
	}
	p.letters = append(p.letters, letter)
	return "250 ok"
}
