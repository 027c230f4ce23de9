package cli

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// The formats of a report.
const (
	reportCSV   = "csv"
	reportJSONL = "jsonl"
)

func (p *program) jobReportCommand() *cobra.Command {
	var server, form, path string
	cmd := &cobra.Command{
		Use:   "report JOB",
		Short: "Write what became of every object of a job, with its proof",
		Long: `Write a row for every object of a job: its key and size, what became of it, and
the proof: which checksum both ends vouch for, or what else is known. CSV is for
spreadsheets: a text that one of them could take for a formula gets a ' in
front, and a key that is no text stands base64-coded in a column of its own.
JSONL is the exact form; its last line counts the rows.

The rows are counted and compared with the ledger's counters. If they differ for
a job that has ended, the report is not complete and the exit status is 6. The
SHA-256 of the report is written to standard error.`,
		Args: arguments("JOB"),
		Example: example("tranship job report 7 > job-7.csv", "tranship job report 7 --format jsonl --to job-7.jsonl",
			"tranship job report 7 --format jsonl | jq -r 'select(.outcome == \"failed\") | .key'"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			if _, err := oneOf("format", form, reportCSV, reportJSONL); err != nil {
				return err
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			return p.reportTo(cmd.Context(), c, id, form, path)
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().StringVar(&form, "format", reportCSV, "csv or jsonl")
	cmd.Flags().StringVar(&path, "to", "", "file to write, whole or not at all (default: standard output)")
	return cmd
}

// reportTo writes the report to a file, which is there only once it is whole,
// or to standard output.
func (p *program) reportTo(ctx context.Context, c *api.Client, id work.JobID, form, path string) error {
	if path == "" {
		return p.report(ctx, c, id, form, p.stdout)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fail(ExitFailed, fmt.Errorf("write the report: %w", err), "name a file in a folder that you may write to with --to")
	}
	defer os.Remove(f.Name()) // gone already if all went well
	err = p.report(ctx, c, id, form, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fail(ExitFailed, fmt.Errorf("write the report: %w", err), "name another file with --to")
	}
	return nil
}

// report writes the rows of a job's objects and checks that none is missing.
func (p *program) report(ctx context.Context, c *api.Client, id work.JobID, form string, to io.Writer) error {
	job, err := c.Job(ctx, id)
	if err != nil {
		return answered(err)
	}
	q := work.ObjectQuery{Job: id}
	rows := pages(0, func(page api.Page) ([]api.Object, string, error) {
		q.Cursor, q.Limit = page.Cursor, page.Limit
		l, err := c.Objects(ctx, q)
		return l.Objects, l.Next, err
	})
	sum := sha256.New()
	out := bufio.NewWriter(io.MultiWriter(to, sum))
	write := writeReportCSV
	if form == reportJSONL {
		write = writeReportJSONL
	}
	got, err := write(out, id, rows)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		var f *failure
		if errors.As(err, &f) {
			return err
		}
		return fmt.Errorf("write the report: %w", err)
	}
	p.say("job %d %s: %s objects in the report: %s copied, %s skipped, %s failed, %s open; SHA-256 %s",
		id, job.State, count(got.Objects), count(got.Copied), count(got.Skipped), count(got.Failed), count(got.Open),
		hex.EncodeToString(sum.Sum(nil)))
	return got.agrees(job.Job)
}

// A reportEnd is the last line of a report: what the rows before it add up to.
type reportEnd struct {
	End     bool       `json:"end"`
	Job     work.JobID `json:"job"`
	Objects int64      `json:"objects"`
	Copied  int64      `json:"copied"`
	Skipped int64      `json:"skipped"`
	Failed  int64      `json:"failed"`
	Open    int64      `json:"open"`
	Bytes   int64      `json:"bytes"` // of those copied or skipped
}

func (e *reportEnd) add(o api.Object) {
	e.Objects++
	switch o.Outcome {
	case work.Copied:
		e.Copied++
		e.Bytes += o.Size
	case work.Skipped:
		e.Skipped++
		e.Bytes += o.Size
	case work.Failed:
		e.Failed++
	default:
		e.Open++
	}
}

// agrees returns an error if the job has ended and its counters are others.
func (e reportEnd) agrees(job work.Job) error {
	if job.State.Open() || e.Objects == job.Planned && e.Copied == job.Copied && e.Skipped == job.Skipped && e.Failed == job.Failed {
		return nil
	}
	return fail(ExitMismatch, fmt.Errorf("the report has %s objects (%s copied, %s skipped, %s failed), the ledger counts %s (%s, %s, %s)",
		count(e.Objects), count(e.Copied), count(e.Skipped), count(e.Failed),
		count(job.Planned), count(job.Copied), count(job.Skipped), count(job.Failed)),
		"was the job retried meanwhile? Write the report again; if they still differ, please report it")
}

func writeReportJSONL(w io.Writer, id work.JobID, rows iter.Seq2[api.Object, error]) (reportEnd, error) {
	end := reportEnd{End: true, Job: id}
	enc := json.NewEncoder(w)
	for o, err := range rows {
		if err != nil {
			return end, err
		}
		end.add(o)
		if err := enc.Encode(o); err != nil {
			return end, err
		}
	}
	return end, enc.Encode(end)
}

var reportColumns = []string{"key", "key64", "size", "etag", "outcome", "proof", "checksum", "at", "agent", "attempt", "reason", "dropped", "error"}

func writeReportCSV(w io.Writer, id work.JobID, rows iter.Seq2[api.Object, error]) (reportEnd, error) {
	end := reportEnd{End: true, Job: id}
	out := csv.NewWriter(w)
	if err := out.Write(reportColumns); err != nil {
		return end, err
	}
	for o, err := range rows {
		if err != nil {
			return end, err
		}
		end.add(o)
		key, key64 := o.Key, ""
		if !work.IsText(o.Key) {
			key, key64 = "", base64.StdEncoding.EncodeToString([]byte(o.Key))
		}
		cells := []string{key, key64, strconv.FormatInt(o.Size, 10), o.ETag, string(o.Outcome), o.Proof, o.Checksum,
			stamp(o.At), o.Agent, strconv.Itoa(o.Attempt), o.Reason, o.Dropped, o.Error}
		for i := range cells {
			cells[i] = noFormula(cells[i])
		}
		if err := out.Write(cells); err != nil {
			return end, err
		}
	}
	out.Flush()
	return end, out.Error()
}

// noFormula returns a text that no spreadsheet takes for a formula.
func noFormula(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n'", rune(s[0])) {
		return "'" + s
	}
	return s
}
