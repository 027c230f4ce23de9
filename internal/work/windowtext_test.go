package work

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseWindow(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	days := func(d ...time.Weekday) []time.Weekday { return d }
	for text, want := range map[string]Window{
		"mon-fri 08:00-18:00 Europe/Berlin 20MiB": {Days: days(1, 2, 3, 4, 5), From: "08:00", Until: "18:00", Zone: "Europe/Berlin", Rate: Rate{Bytes: 20 * mib}},
		"fri-mon 22:00-06:00 stop":                {Days: days(5, 6, 0, 1), From: "22:00", Until: "06:00", Stop: true},
		"Sat,sun 00:00-24:00 UTC unlimited":       {Days: days(6, 0), From: "00:00", Until: "24:00", Zone: "UTC"},
		"12:00-13:00 50req":                       {From: "12:00", Until: "13:00", Rate: Rate{Requests: 50}},
		"12:00-13:00 Asia/Tokyo 1MiB 2.5req":      {From: "12:00", Until: "13:00", Zone: "Asia/Tokyo", Rate: Rate{Bytes: mib, Requests: 2.5}},
	} {
		got, err := ParseWindow(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseWindow(%q) = %+v, %v, want %+v", text, got, err, want)
		}
		if again, err := ParseWindow(got.String()); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%q is written %q and then read as %+v, %v", text, got, again, err)
		}
	}
	weekdays := Window{Days: days(1, 2, 3, 4, 5, 0), From: "08:00", Until: "18:00", Zone: "Europe/Berlin", Rate: Rate{Bytes: 20 * mib, Requests: 2.5}}
	if got, want := weekdays.String(), "mon-fri,sun 08:00-18:00 Europe/Berlin 20MiB 2.5req"; got != want {
		t.Errorf("a window is written %q, want %q", got, want)
	}
	for text, want := range map[string]string{
		"":                         "it needs its times",
		"mon":                      "it needs its times",
		"mon 08:00-18:00":          "it needs its times",
		"monday 08:00-18:00 1MiB":  `"monday" is no day`,
		"mon-fri 08:00 1MiB":       "no stretch of time",
		"08:00-18:00 fastreq":      "no number of requests",
		"08:00-18:00 1MiB nothing": `"nothing" is not a size`,
	} {
		if w, err := ParseWindow(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseWindow(%q) = %+v, %v, want %q in the error", text, w, err, want)
		}
	}
}
