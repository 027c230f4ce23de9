package pgserver

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// ping asks the server for the simplest answer.
func (s *Server) ping(ctx context.Context) error {
	return s.exec(ctx, "SELECT 1")
}

// refused reports whether the server answered and will never answer otherwise:
// whatever is wrong with the role or the database, time does not mend it.
func refused(err error) bool {
	e := pq.As(err)
	return e != nil && e.Code != pqerror.CannotConnectNow && e.Code != pqerror.AdminShutdown
}

// CreateDatabase makes a database. It is no error if there is one.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	const tries = 20
	for i := 0; ; i++ {
		err := s.exec(ctx, "CREATE DATABASE "+pq.QuoteIdentifier(name))
		switch {
		case err == nil, pq.As(err, pqerror.DuplicateDatabase) != nil:
			return nil
		case pq.As(err, pqerror.UniqueViolation, pqerror.ObjectInUse) == nil || i == tries:
			return fmt.Errorf("create database %s: %w", name, err)
		}
		// Somebody else is creating one at this moment.
		select {
		case <-ctx.Done():
			return fmt.Errorf("create database %s: %w", name, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// exec runs one statement on a connection of its own.
func (s *Server) exec(ctx context.Context, query string) error {
	connector, err := pq.NewConnector(s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("read the server's own address: %w", err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	_, err = db.ExecContext(ctx, query)
	return err
}
