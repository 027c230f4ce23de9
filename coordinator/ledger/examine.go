package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tranship/tranship/internal/work"
)

const (
	leastServer = 140_000         // server_version_num of PostgreSQL 14
	mostSkew    = 5 * time.Second // between this clock and the database's
)

// Examine looks at the database for what would make a ledger slow, unsafe or
// hard to restore, and says what to do about it. It changes nothing. A database
// that does not answer is a failing check, not an error.
func (l *Ledger) Examine(ctx context.Context) []work.Check {
	e := examination{ledger: l}
	if !e.look(ctx) {
		return e.found
	}
	e.server()
	e.schema(ctx)
	e.safety()
	e.clock()
	e.room()
	return e.found
}

// An examination is what was asked of the database and what is said of it.
type examination struct {
	ledger *Ledger
	found  []work.Check
	state  serverState
	asked  time.Time // the middle of the question
}

// A serverState is what the database says of itself.
type serverState struct {
	Number      int // of the version
	Version     string
	Standby     bool
	Now         time.Time
	Sessions    int // of all clients
	Room        int // for sessions of ordinary users
	Bytes       int64
	Fsync       bool
	FullPages   bool
	Commit      string // synchronous_commit
	Vacuum      bool
	Checksums   bool
	ReadOnly    bool
	Archive     string
	Replication int // standbys that are attached
}

func (e *examination) look(ctx context.Context) bool {
	const query = `
		SELECT
			current_setting('server_version_num')::integer AS number, current_setting('server_version') AS version,
			pg_is_in_recovery() AS standby, clock_timestamp() AS now,
			(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS sessions,
			current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer AS room,
			pg_database_size(current_database()) AS bytes,
			current_setting('fsync')::boolean AS fsync, current_setting('full_page_writes')::boolean AS fullpages,
			current_setting('synchronous_commit') AS commit, current_setting('autovacuum')::boolean AS vacuum,
			current_setting('data_checksums')::boolean AS checksums,
			current_setting('default_transaction_read_only')::boolean AS readonly,
			current_setting('archive_mode') AS archive,
			(SELECT count(*) FROM pg_stat_replication) AS replication`

	began := time.Now()
	err := e.ledger.db.GetContext(ctx, &e.state, query)
	took := time.Since(began)
	e.asked = began.Add(took / 2)
	if err != nil {
		e.add("answer", work.CheckFailing, err.Error(), "is it running, and is postgres.url right? Its own log says more")
		return false
	}
	e.add("answer", work.CheckOK, fmt.Sprintf("in %v", took.Round(10*time.Microsecond)), "")
	return true
}

func (e *examination) add(what string, s work.CheckState, found, advice string) {
	e.found = append(e.found, work.Check{Part: "postgres", What: what, State: s, Found: found, Advice: advice})
}

// judge adds a check that is good, or else as bad as s.
func (e *examination) judge(what string, good bool, s work.CheckState, found, advice string) {
	if good {
		s, advice = work.CheckOK, ""
	}
	e.add(what, s, found, advice)
}

func (e *examination) server() {
	e.judge("version", e.state.Number >= leastServer, work.CheckFailing, e.state.Version, "upgrade to PostgreSQL 14 or later")
	found := "primary"
	if e.state.Standby {
		found = "standby"
	}
	if e.state.ReadOnly {
		found += ", read-only by default"
	}
	e.judge("role", !e.state.Standby && !e.state.ReadOnly, work.CheckFailing, found,
		"the ledger is written: name the primary, or all servers with target_session_attrs=read-write, in postgres.url")
}

func (e *examination) schema(ctx context.Context) {
	current, target, err := schemaVersion(ctx, e.ledger.db)
	if err != nil {
		e.add("schema", work.CheckFailing, err.Error(), "may the user of postgres.url read the schema tranship?")
		return
	}
	found := fmt.Sprintf("version %d", current)
	switch {
	case current < target:
		e.add("schema", work.CheckFailing, fmt.Sprintf("%s, this program needs %d", found, target), "run tranship migrate")
	case current > target:
		e.add("schema", work.CheckWarning, fmt.Sprintf("%s, this program knows %d", found, target), "another coordinator is newer: upgrade this one")
	default:
		e.add("schema", work.CheckOK, found, "")
	}
}

// safety looks at what a power cut or a bad disk could do.
func (e *examination) safety() {
	s := e.state
	e.judge("fsync", s.Fsync && s.FullPages, work.CheckFailing, fmt.Sprintf("fsync %s, full_page_writes %s", onOff(s.Fsync), onOff(s.FullPages)),
		"a power cut may destroy the ledger: set both on")
	e.judge("synchronous_commit", s.Commit != "off", work.CheckWarning, s.Commit,
		"a power cut may take back results that were acknowledged; they are then found at the target and not copied again, but set it on")
	e.judge("data checksums", s.Checksums, work.CheckWarning, onOff(s.Checksums),
		"damage by its disk would go unnoticed: stop the server and run pg_checksums --enable")
	e.judge("autovacuum", s.Vacuum, work.CheckWarning, onOff(s.Vacuum), "items are updated twice each: without it the ledger grows and slows down")
	found := "archive_mode " + s.Archive
	if s.Replication > 0 {
		found += fmt.Sprintf(", %d attached for replication", s.Replication)
	}
	e.judge("copies", s.Archive != "off" || s.Replication > 0, work.CheckWarning, found,
		"losing this disk loses all since the last pg_dump; see Backup in deploy/README.md")
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (e *examination) clock() {
	skew := e.state.Now.Sub(e.asked)
	e.judge("clock", skew.Abs() <= mostSkew, work.CheckWarning, fmt.Sprintf("%+v from here", skew.Round(time.Millisecond)),
		"no lease depends on it, but times on the page will be wrong: run an NTP service on both machines")
}

func (e *examination) room() {
	s := e.state
	most := e.ledger.db.Stats().MaxOpenConnections
	e.judge("connections", s.Sessions+most <= s.Room+e.ledger.db.Stats().OpenConnections, work.CheckWarning,
		fmt.Sprintf("%d in use of %d; this coordinator takes up to %d", s.Sessions, s.Room, most),
		"raise max_connections, or lower postgres.connections")
	e.add("size", work.CheckOK, humanize.IBytes(uint64(max(s.Bytes, 0))), "")
}
