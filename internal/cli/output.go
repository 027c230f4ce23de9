package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tranship/tranship/config"
)

// flushRows is how many rows of a table are aligned with each other, so that
// a long listing need not be held in memory.
const flushRows = 1000

// A format is how data is written.
type format string

// The formats. Automatic is a table on a terminal and tab-separated values
// elsewhere.
const (
	formatAuto   format = ""
	formatTable  format = "table"
	formatTSV    format = "tsv"
	formatJSON   format = "json"
	formatNDJSON format = "ndjson"
)

// formatFlag adds -o to a command.
func formatFlag(cmd *cobra.Command, f *format) {
	cmd.Flags().VarP(f, "output", "o", "table, tsv, json or ndjson (default: a table on a terminal, else tsv)")
}

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	known := []string{string(formatTable), string(formatTSV), string(formatJSON), string(formatNDJSON)}
	for _, k := range known {
		if s == k {
			*f = format(s)
			return nil
		}
	}
	if near := config.Nearest(s, known); near != "" {
		return fmt.Errorf("did you mean %s?", near)
	}
	return fmt.Errorf("use one of %s", strings.Join(known, ", "))
}

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *format) Type() string { return "format" }

// isTerminal reports whether a person is likely to read w as it is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// A column is one of a table. Show is for people; raw, if set, is what
// programs get in tab-separated values.
type column[T any] struct {
	name string
	show func(T) string
	raw  func(T) string
}

// plain returns a column that reads the same to people and programs.
func plain[T any](name string, show func(T) string) column[T] {
	return column[T]{name: name, show: show}
}

// bytesColumn returns a column of sizes.
func bytesColumn[T any](name string, size func(T) int64) column[T] {
	return column[T]{name,
		func(v T) string { return bytesText(size(v)) },
		func(v T) string { return strconv.FormatInt(size(v), 10) }}
}

// countColumn returns a column of numbers.
func countColumn[T any](name string, n func(T) int64) column[T] {
	return column[T]{name,
		func(v T) string { return count(n(v)) },
		func(v T) string { return strconv.FormatInt(n(v), 10) }}
}

// timeColumn returns a column of times: how long ago, or the time itself.
func timeColumn[T any](name string, at func(T) time.Time) column[T] {
	return column[T]{name,
		func(v T) string { return ago(time.Since(at(v)), at(v).IsZero()) },
		func(v T) string { return stamp(at(v)) }}
}

// writeRows writes rows in the format f, one as it comes if the format allows.
// JSON is that of the rows themselves; columns are for tables.
func writeRows[T any](w io.Writer, f format, rows iter.Seq2[T, error], columns []column[T]) error {
	if f == formatAuto {
		f = formatTSV
		if isTerminal(w) {
			f = formatTable
		}
	}
	switch f {
	case formatJSON:
		return writeJSON(w, rows)
	case formatNDJSON:
		enc := json.NewEncoder(w)
		for row, err := range rows {
			if err != nil {
				return err
			}
			if err := enc.Encode(row); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
		}
		return nil
	case formatTSV:
		return writeTable(w, rows, columns, func(c column[T], v T) string {
			if c.raw != nil {
				return c.raw(v)
			}
			return c.show(v)
		})
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if err := writeTable(tw, rows, columns, func(c column[T], v T) string { return c.show(v) }); err != nil {
		return err
	}
	return tw.Flush()
}

// writeJSON writes rows as one array, streaming.
func writeJSON[T any](w io.Writer, rows iter.Seq2[T, error]) error {
	before := "["
	for row, err := range rows {
		if err != nil {
			return err
		}
		b, err := json.MarshalIndent(row, "  ", "  ")
		if err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		if _, err := fmt.Fprintf(w, "%s\n  %s", before, b); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		before = ","
	}
	after := "\n]\n"
	if before == "[" {
		after = "[]\n"
	}
	if _, err := io.WriteString(w, after); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func writeTable[T any](w io.Writer, rows iter.Seq2[T, error], columns []column[T], cell func(column[T], T) string) error {
	cells := make([]string, len(columns))
	line := func(text func(column[T]) string) error {
		for i, c := range columns {
			cells[i] = text(c)
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		return nil
	}
	if err := line(func(c column[T]) string { return strings.ToUpper(c.name) }); err != nil {
		return err
	}
	n := 0
	for row, err := range rows {
		if err != nil {
			return err
		}
		if err := line(func(c column[T]) string { return cell(c, row) }); err != nil {
			return err
		}
		if n++; n%flushRows == 0 {
			if tw, ok := w.(*tabwriter.Writer); ok {
				if err := tw.Flush(); err != nil {
					return fmt.Errorf("write output: %w", err)
				}
			}
		}
	}
	return nil
}

// each returns the rows of a slice as writeRows takes them.
func each[T any](rows []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// writeOne writes a single row: an object, not an array, in JSON.
func writeOne[T any](w io.Writer, f format, row T, columns []column[T]) error {
	if f != formatJSON {
		return writeRows(w, f, each([]T{row}), columns)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(row); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// oneLine returns an error's text without line breaks.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// bytesText returns a size as people read it.
func bytesText(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// count returns a number as people read it.
func count(n int64) string { return humanize.Comma(n) }

// stamp returns a time as programs read it; "" of no time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// ago returns an age as people read it; "-" of no time.
func ago(d time.Duration, never bool) string {
	switch {
	case never:
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(max(d, 0).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(d.Hours()/24))
}

// span returns a duration as people read it: 4s, 3m07s, 2h05m, 3d4h.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
