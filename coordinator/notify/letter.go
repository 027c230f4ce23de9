package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// letter returns the subject and the text of a mail that says what a body does.
func letter(text string) (subject, letter string, err error) {
	var b body
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return "", "", fmt.Errorf("read the notice: %w", err)
	}
	var w strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	line("%s", b.Data.Summary)
	line("")
	if j := b.Data.Job; j != nil {
		line("  from     %s", j.Source)
		line("  to       %s", j.Target)
		line("  state    %s", j.State)
		line("  objects  %s found: %s copied, %s skipped, %s failed, %s open", humanize.Comma(j.Planned),
			humanize.Comma(j.Copied), humanize.Comma(j.Skipped), humanize.Comma(j.Failed), humanize.Comma(j.Open))
		line("  bytes    %s of %s", humanize.IBytes(uint64(max(0, j.DoneBytes))), humanize.IBytes(uint64(max(0, j.PlannedBytes))))
		if !j.FinishedAt.IsZero() && !j.StartedAt.IsZero() {
			line("  took     %s", j.FinishedAt.Sub(j.StartedAt).Round(time.Second))
		}
		if j.Error != "" {
			line("  error    %s", j.Error)
		}
	}
	if s := b.Data.Stall; s != nil {
		line("\nNothing has moved since %s: %s.", s.Since.UTC().Format(time.RFC3339), s.Why)
		line("%s", s.Next)
	}
	if len(b.Data.Faults) > 0 {
		line("\nWhy objects failed:")
	}
	for _, f := range b.Data.Faults {
		line("  %s %s, such as %s: %s", humanize.Comma(f.Count), f.Fault, f.Example, f.Error)
	}
	if b.Data.URL != "" {
		line("\n%s", b.Data.URL)
	}
	return "[tranship] " + b.Data.Summary, w.String(), nil
}
