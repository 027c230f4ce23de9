package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// Away reports whether err says that the database cannot be used now, whatever
// was asked of it, and why: words to follow its name, without an address or
// another secret. It takes nothing for the database's that may be another's:
// not a deadline that the caller has set, nor trouble on another connection.
func Away(err error) (why string, away bool) {
	var wire wireError
	e := pq.As(err)
	switch {
	case err == nil:
	case errors.Is(err, work.ErrSetBack):
		return "was set back to an earlier state; the coordinator must start again", true
	case e != nil:
		return awayState(string(e.Code))
	case errors.As(err, &wire) && wire.Timeout():
		return silent, true
	case errors.As(err, &wire):
		return "cannot be reached", true
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrTxDone), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "has closed the connection", true
	}
	return "", false
}

const silent = "does not answer in time"

// Silent reports whether err, which a Ledger has returned, says that the
// database did not answer in time, or not by the caller's deadline.
func Silent(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// awayState is Away of an answer of the database, by its SQLSTATE.
func awayState(code string) (why string, away bool) {
	switch code {
	case "53100":
		return "has no disk space left: free some, and if it has stopped, start it again", true
	case "53200":
		return "has no memory left", true
	case "53300":
		return "has no connection left: raise max_connections, or lower postgres.connections", true
	case "25006":
		return "is read-only: it may be a standby", true
	case "3D000", "55000":
		return "has no such database, or it takes no connections: it may be being restored", true
	case "57014":
		return silent, true
	}
	switch code[:min(len(code), 2)] {
	case "57":
		return "is starting or stopping", true
	case "58", "XX":
		return "has trouble with its files: its own log says which", true
	case "08":
		return "has closed the connection", true
	case "28":
		return "refuses the login", true
	case "53":
		return "lacks resources", true
	}
	return "", false
}
