package ledger_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

func TestAway(t *testing.T) {
	t.Parallel()
	state := func(code pqerror.Code) error { return &pq.Error{Code: code, Message: "at 10.0.0.9"} }
	tests := []struct {
		err  error
		want string // within the words; empty: it is not away
	}{
		{nil, ""},
		{errors.New("x"), ""},
		{context.Canceled, ""},
		{work.ErrNoJob, ""},
		{state("42P01"), ""}, // a wrong statement
		{state("23505"), ""},
		{state("40001"), ""},
		{state("53100"), "no disk space left"},
		{state("53300"), "max_connections"},
		{state("57P01"), "starting or stopping"},
		{state("57P03"), "starting or stopping"},
		{state("57014"), "in time"},
		{state("58030"), "its own log"},
		{state("25006"), "read-only"},
		{state("28P01"), "refuses the login"},
		{state("3D000"), "no such database"},
		{context.DeadlineExceeded, ""}, // anybody's
		{&net.OpError{Op: "dial", Err: errors.New("10.0.0.9: refused")}, ""}, // the queue's
		{driver.ErrBadConn, "closed"},
		{io.ErrUnexpectedEOF, "closed"},
		{work.ErrSetBack, "set back"},
	}
	for _, tt := range tests {
		err := tt.err
		if err != nil {
			err = fmt.Errorf("read job 7: %w", err)
		}
		why, away := ledger.Away(err)
		if away != (tt.want != "") || !strings.Contains(why, tt.want) || strings.Contains(why, "10.0.0.9") {
			t.Errorf("Away(%v) = %q, %v, want %q", err, why, away, tt.want)
		}
	}
}

// Whatever keeps a real ledger from being used is recognised as that.
func TestAwayForReal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone() // what is in memory is always there
	b.create()
	nobody := "postgres:///x?host=" + url.QueryEscape(t.TempDir()) + "&user=tranship&sslmode=disable"
	if _, err := ledger.Open(t.Context(), nobody, ledger.Options{}); !isAway(err) {
		t.Errorf("nobody there: %v", err)
	}
	ledgertest.Copy(t, b.url) // which cuts connections
	if _, err := b.Job(t.Context(), 1); err != nil && !isAway(err) {
		t.Errorf("a connection that was cut: %v", err)
	}
	if _, _, err := b.CreateJob(t.Context(), newJob(), work.Idempotency{}); err != nil && !isAway(err) {
		t.Errorf("a connection that was cut: %v", err)
	}
	l, err := ledger.Open(t.Context(), b.url, ledger.Options{Connections: 1})
	b.must(err)
	defer l.Close()
	ledgertest.Drop(t, b.url)
	for range 3 {
		if err := l.Ping(t.Context()); !isAway(err) {
			t.Errorf("a database that was dropped: %v", err)
		}
	}
}

func isAway(err error) bool {
	_, away := ledger.Away(err)
	return away
}
