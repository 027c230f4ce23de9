package ledger_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/work"
)

// TestExamine: the tests' own Postgres is fast and unsafe, which must be said.
func TestExamine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if got := summary(b.Examine(t.Context())); got["answer"] != work.CheckOK || got["schema"] != work.CheckOK ||
		got["role"] != work.CheckOK || got["clock"] != work.CheckOK || got["fsync"] != work.CheckFailing {
		t.Errorf("found %v", got)
	}

	b.exec(`INSERT INTO tranship.goose_db_version (version_id, is_applied) VALUES (999, true)`)
	u, err := url.Parse(b.url)
	b.must(err)
	q := u.Query()
	q.Set("options", "-c default_transaction_read_only=on -c synchronous_commit=off")
	u.RawQuery = q.Encode()
	odd, err := ledger.Open(t.Context(), u.String(), ledger.Options{Connections: 1000})
	b.must(err)
	defer odd.Close()
	if got := summary(odd.Examine(t.Context())); got["schema"] != work.CheckWarning || got["role"] != work.CheckFailing ||
		got["synchronous_commit"] != work.CheckWarning || got["connections"] != work.CheckWarning {
		t.Errorf("of a newer schema, read-only, with many connections: found %v", got)
	}

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if found := b.Examine(gone); len(found) != 1 || found[0].State != work.CheckFailing || !strings.Contains(found[0].Advice, "postgres.url") {
		t.Errorf("of a database that does not answer: found %+v", found)
	}
}

func summary(found []work.Check) map[string]work.CheckState {
	s := map[string]work.CheckState{}
	for _, c := range found {
		s[c.What] = c.State
	}
	return s
}
