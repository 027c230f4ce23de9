package cli

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// serverVariable says which coordinator is asked.
const serverVariable = "TRANSHIP_SERVER"

// defaultServer is where a coordinator answers unless its settings say otherwise.
const defaultServer = "http://127.0.0.1:8480"

// serverFlag adds --server to a command.
func serverFlag(cmd *cobra.Command, server *string) {
	cmd.Flags().StringVar(server, "server", "", "address or context of the coordinator (default: $"+serverVariable+", the context in use, the coordinator that runs here, else "+defaultServer+")")
}

// client returns a client of the server that the flag, the environment, the
// context in use, the data folder of this machine or the default names.
func (p *program) client(flag string) (*api.Client, error) {
	e, err := p.chosen(flag)
	if err != nil {
		return nil, err
	}
	e.Server = cmp.Or(e.Server, p.resident().address, defaultServer)
	u, err := e.address()
	if err != nil {
		return nil, err
	}
	token, err := p.token(u, e.Token)
	if err != nil {
		return nil, err
	}
	hc, err := p.httpClient(e.CA)
	if err != nil {
		return nil, err
	}
	c := api.NewClient(e.Server, hc, token)
	c.Who = who()
	return c, nil
}

// who names the user for the audit log.
func who() string {
	u, err := user.Current()
	if err != nil {
		return "tranship"
	}
	return u.Username
}

// answered turns an error of a client's call into a failure.
func answered(err error) error {
	var problem *api.Problem
	switch {
	case err == nil:
		return nil
	case errors.Is(err, api.ErrUnreachable):
		return fail(ExitUnreachable, err, "is the coordinator running? tranship up starts one here; --server or "+serverVariable+" names another")
	case errors.As(err, &problem):
		return fail(problemStatus(problem), err, problem.Hint)
	}
	return err
}

func problemStatus(p *api.Problem) int {
	switch {
	case p.Status == http.StatusUnauthorized, p.Status == http.StatusForbidden:
		return ExitDenied
	case p.Code == api.Invalid, p.Code == api.BadRequest:
		return ExitUsage
	case p.Code == api.Unavailable, p.Status == http.StatusBadGateway, p.Status == http.StatusGatewayTimeout:
		return ExitUnreachable
	}
	return ExitFailed
}

// jobID reads the number of a job.
func jobID(arg string) (work.JobID, error) {
	n, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || n <= 0 {
		return 0, usage("tranship job ls lists them", "%q is not the number of a job", arg)
	}
	return work.JobID(n), nil
}

// pages joins the pages of a listing, at most limit rows; 0 means all. next
// fetches the page of a cursor and returns the cursor of the one after it.
func pages[T any](limit int, next func(p api.Page) (rows []T, cursor string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var p api.Page
		for left := limit; ; {
			p.Limit = pageRows
			if limit > 0 {
				p.Limit = min(left, pageRows)
			}
			rows, cursor, err := next(p)
			if err != nil {
				var none T
				yield(none, answered(err))
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			left -= len(rows)
			if p.Cursor = cursor; cursor == "" || (limit > 0 && left <= 0) {
				return
			}
		}
	}
}

// pageRows is how many rows are asked for at once.
const pageRows = 500

// limitFlag adds --limit to a listing.
func limitFlag(cmd *cobra.Command, limit *int, value int) {
	cmd.Flags().IntVar(limit, "limit", value, "at most so many rows; 0 means all")
}

// text returns a text of a stranger as people may see it; "-" of none.
func text(s string) string {
	if s == "" {
		return "-"
	}
	return work.Quote(s)
}

// took returns how long a job ran; "-" while it does.
func took(j work.Job) string {
	if j.StartedAt.IsZero() || j.FinishedAt.IsZero() {
		return "-"
	}
	return span(j.FinishedAt.Sub(j.StartedAt))
}

// jobColumns are those of a listing of jobs.
func jobColumns() []column[api.Job] {
	return []column[api.Job]{
		plain("id", func(j api.Job) string { return j.ID.String() }),
		plain("state", func(j api.Job) string { return string(j.State) }),
		countColumn("planned", func(j api.Job) int64 { return j.Planned }),
		countColumn("copied", func(j api.Job) int64 { return j.Copied }),
		countColumn("skipped", func(j api.Job) int64 { return j.Skipped }),
		countColumn("failed", func(j api.Job) int64 { return j.Failed }),
		bytesColumn("bytes", func(j api.Job) int64 { return j.PlannedBytes }),
		plain("done", func(j api.Job) string { return percent(j.Job) }),
		timeColumn("created", func(j api.Job) time.Time { return j.CreatedAt }),
		plain("took", func(j api.Job) string { return took(j.Job) }),
		plain("source", func(j api.Job) string { return text(j.Source) }),
		plain("target", func(j api.Job) string { return text(j.Target) }),
		plain("stalled", stalledText),
	}
}

// stalledText returns why a job stands still, in a word; "-" if it does not.
func stalledText(j api.Job) string {
	switch {
	case j.Stalled != nil:
		return string(j.Stalled.Cause)
	case j.Waiting != nil:
		return "waiting"
	}
	return "-"
}

// percent returns how much of the objects found so far is done.
func percent(j work.Job) string {
	if j.Planned == 0 {
		if j.State == work.Succeeded {
			return "100%"
		}
		return "-"
	}
	return fmt.Sprintf("%d%%", 100*(j.Planned-j.Open)/j.Planned)
}
