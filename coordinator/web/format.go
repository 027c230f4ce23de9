package web

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"github.com/tranship/tranship/internal/work"
)

// comma returns a number with its thousands apart.
func comma(n int64) string { return humanize.Comma(n) }

// bytesText returns a size as people read it.
func bytesText(n int64) string {
	if n < 0 {
		return "-" + humanize.IBytes(uint64(-n))
	}
	return humanize.IBytes(uint64(n))
}

// rateText returns bytes a second.
func rateText(v float64) string { return bytesText(int64(v)) + "/s" }

// perSecond returns objects a second.
func perSecond(v float64) string {
	if v > 0 && v < 10 {
		return fmt.Sprintf("%.1f/s", v)
	}
	return comma(int64(v+0.5)) + "/s"
}

// percentText never rounds up to 100, nor down to 0: both would be a claim.
func percentText(f float64) string {
	switch {
	case f <= 0:
		return "0%"
	case f >= 1:
		return "100%"
	case f < 0.001:
		return "<0.1%"
	case f > 0.999:
		return ">99.9%"
	}
	return fmt.Sprintf("%.1f%%", f*100)
}

// durationText returns a span in its two largest units.
func durationText(d time.Duration) string {
	d = max(0, d.Round(time.Second))
	units := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.size {
			continue
		}
		text := fmt.Sprintf("%d %s", d/u.size, u.name)
		if rest := d % u.size; i+1 < len(units) && rest >= units[i+1].size {
			text += fmt.Sprintf(" %d %s", rest/units[i+1].size, units[i+1].name)
		}
		return text
	}
	return "0 s"
}

// A moment is a time as a page shows it: both ways.
type moment struct {
	ISO   string // for machines; empty: there is no such time
	Stamp string // as a date and time of day, UTC
	Ago   string // from now
}

func when(t, now time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	t = t.UTC()
	m := moment{ISO: t.Format(time.RFC3339), Stamp: t.Format("2006-01-02 15:04:05") + " UTC"}
	switch d := now.Sub(t); {
	case d < -time.Second:
		m.Ago = "in " + durationText(-d)
	case d < 2*time.Second:
		m.Ago = "now"
	default:
		m.Ago = durationText(d) + " ago"
	}
	return m
}

// clean makes a text safe to look at: what cannot be printed, and what changes
// the direction of writing, is shown as its escape.
func clean(s string) string {
	bad := func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !bad(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// keyText returns an object's key as a page shows it.
func keyText(key string) string { return work.Quote(key) }

// priorityText says how urgent a job is.
func priorityText(c work.Class) string {
	switch c {
	case work.Hi:
		return "high: before others"
	case work.Norm:
		return "normal"
	case work.Lo:
		return "low: after others"
	}
	return clean(string(c))
}
