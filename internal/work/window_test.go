package work

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestLimitAt(t *testing.T) {
	t.Parallel()
	day, night := Rate{Bytes: 2 << 20}, Rate{Bytes: 9 << 20, Requests: 5}
	usual := Rate{Bytes: 1 << 20}
	weekdays := []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	berlin := func(from, until string, r Rate, days ...time.Weekday) Window {
		return Window{Days: days, From: from, Until: until, Zone: "Europe/Berlin", Rate: r}
	}
	stopped := func(w Window) Window {
		w.Rate, w.Stop = Rate{}, true
		return w
	}
	for name, tt := range map[string]struct {
		windows []Window
		at      string
		want    Rate
		stop    bool
	}{
		"none":                        {nil, "2026-01-05T12:00:00Z", usual, false},
		"in":                          {[]Window{berlin("08:00", "18:00", day, weekdays...)}, "2026-01-05T08:00:00+01:00", day, false},
		"its end":                     {[]Window{berlin("08:00", "18:00", day, weekdays...)}, "2026-01-05T18:00:00+01:00", usual, false},
		"before, in another zone":     {[]Window{berlin("08:00", "18:00", day, weekdays...)}, "2026-01-05T06:59:59Z", usual, false},
		"another day":                 {[]Window{berlin("08:00", "18:00", day, weekdays...)}, "2026-01-04T12:00:00+01:00", usual, false},
		"UTC without a zone":          {[]Window{{From: "12:00", Until: "13:00", Rate: day}}, "2026-01-05T12:30:00Z", day, false},
		"the day's end":               {[]Window{{From: "22:00", Until: "24:00", Rate: day}}, "2026-01-05T23:59:59Z", day, false},
		"not the next day":            {[]Window{{From: "22:00", Until: "24:00", Rate: day}}, "2026-01-06T00:00:00Z", usual, false},
		"past midnight":               {[]Window{berlin("22:00", "06:00", night, time.Friday)}, "2026-01-10T05:59:00+01:00", night, false},
		"past midnight, the day next": {[]Window{berlin("22:00", "06:00", night, time.Friday)}, "2026-01-11T05:59:00+01:00", usual, false},
		"before that midnight":        {[]Window{berlin("22:00", "06:00", night, time.Friday)}, "2026-01-09T22:00:00+01:00", night, false},
		"the morning before":          {[]Window{berlin("22:00", "06:00", night, time.Friday)}, "2026-01-09T05:00:00+01:00", usual, false},
		"Saturday into Sunday":        {[]Window{berlin("22:00", "06:00", night, time.Saturday)}, "2026-01-11T05:00:00+01:00", night, false},
		"a whole day":                 {[]Window{berlin("06:00", "06:00", night, time.Friday)}, "2026-01-10T05:59:00+01:00", night, false},
		"the first counts":            {[]Window{berlin("08:00", "12:00", day), berlin("08:00", "18:00", night)}, "2026-01-05T09:00:00+01:00", day, false},
		"then the next":               {[]Window{berlin("08:00", "12:00", day), berlin("08:00", "18:00", night)}, "2026-01-05T13:00:00+01:00", night, false},
		"nothing moves":               {[]Window{stopped(berlin("08:00", "12:00", day))}, "2026-01-05T09:00:00+01:00", Rate{}, true},
		"no bound in a window":        {[]Window{berlin("22:00", "06:00", Rate{})}, "2026-01-05T23:00:00+01:00", Rate{}, false},
		// On 29 March 2026 the clocks go from 02:00 to 03:00, on 25 October from 03:00 to 02:00.
		"winter":                    {[]Window{berlin("08:00", "18:00", day)}, "2026-03-28T07:30:00Z", day, false},
		"summer":                    {[]Window{berlin("08:00", "18:00", day)}, "2026-03-29T06:30:00Z", day, false},
		"summer, an hour after":     {[]Window{berlin("08:00", "18:00", day)}, "2026-03-29T16:30:00Z", usual, false},
		"across the gap":            {[]Window{berlin("01:30", "03:30", day)}, "2026-03-29T01:15:00Z", day, false},
		"inside the gap: it is not": {[]Window{berlin("02:15", "02:45", day)}, "2026-03-29T01:20:00Z", usual, false},
		"the first of two hours":    {[]Window{berlin("02:15", "02:45", day)}, "2026-10-25T00:30:00Z", day, false},
		"the second of two hours":   {[]Window{berlin("02:15", "02:45", day)}, "2026-10-25T01:30:00Z", day, false},
		"between the two":           {[]Window{berlin("02:15", "02:45", day)}, "2026-10-25T01:05:00Z", usual, false},
		"the longer night":          {[]Window{berlin("22:00", "06:00", night)}, "2026-10-25T04:59:00Z", night, false},
		"after the longer night":    {[]Window{berlin("22:00", "06:00", night)}, "2026-10-25T05:00:00Z", usual, false},
	} {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		l := Limit{Scope: LimitStore, Name: "s3://b", Rate: usual, Windows: tt.windows}
		if err := l.Check(); err != nil {
			t.Errorf("%s: Check() = %v", name, err)
		}
		if got, stop := l.At(at); got != tt.want || stop != tt.stop {
			t.Errorf("%s: At(%s) = %+v, %v, want %+v, %v", name, tt.at, got, stop, tt.want, tt.stop)
		}
	}
}

func TestLimitCheck(t *testing.T) {
	t.Parallel()
	some := Rate{Bytes: 1 << 20}
	window := func(w Window) Limit {
		return Limit{Scope: LimitSite, Name: "s", Rate: some, Windows: []Window{w}}
	}
	for want, l := range map[string]Limit{
		"unknown scope":         {Scope: "x", Name: "s", Rate: some},
		"how it begins":         {Scope: LimitStore, Name: "bucket", Rate: some},
		"a meaning of its own":  {Scope: LimitSite, Name: "any", Rate: some},
		"the number of a job":   {Scope: LimitJob, Name: "0", Rate: some},
		"bounds nothing":        {Scope: LimitSite, Name: "s"},
		"bytes: 5 a second":     {Scope: LimitSite, Name: "s", Rate: Rate{Bytes: 5}},
		"requests: -1":          {Scope: LimitSite, Name: "s", Rate: Rate{Requests: -1}},
		`from "8:00"`:           window(Window{From: "8:00", Until: "09:00"}),
		`from "24:00"`:          window(Window{From: "24:00", Until: "09:00"}),
		`until "09:60"`:         window(Window{From: "08:00", Until: "09:60"}),
		`until "24:01"`:         window(Window{From: "08:00", Until: "24:01"}),
		"day 7":                 window(Window{From: "08:00", Until: "09:00", Days: []time.Weekday{7}}),
		`zone "Mars/Olympus"`:   window(Window{From: "08:00", Until: "09:00", Zone: "Mars/Olympus"}),
		`zone "Local"`:          window(Window{From: "08:00", Until: "09:00", Zone: "Local"}),
		"and yet has a rate":    window(Window{From: "08:00", Until: "09:00", Stop: true, Rate: some}),
		"window 1: bytes: 5":    window(Window{From: "08:00", Until: "09:00", Rate: Rate{Bytes: 5}}),
		"and there may be 50":   {Scope: LimitSite, Name: "s", Windows: make([]Window, 51)},
		"requests: +Inf":        {Scope: LimitSite, Name: "s", Rate: Rate{Requests: math.Inf(1)}},
		"bytes: 11258999068426": {Scope: LimitSite, Name: "s", Rate: Rate{Bytes: 1<<50 + 1}},
	} {
		if err := l.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check() of %+v = %v, want %q in it", l, err, want)
		}
	}
}

func TestConcernsStore(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, store string
		want        bool
	}{
		{"s3://b", "s3://b/", true},
		{"s3://b", "s3://b/p/q?region=x", true},
		{"s3://b/p", "s3://b/p", true},
		{"s3://b/p", "s3://b/p/q", true},
		{"s3://b/p/", "s3://b/p", true},
		{"s3://b/p", "s3://b/pq", false},
		{"s3://b/p", "s3://b/", false},
		{"s3://b", "s3://bb/", false},
		{"s3://b", "gs://b/", false},
		{"s3://b?endpoint=one", "s3://b/?endpoint=one&region=x", true},
		{"s3://b?endpoint=one", "s3://b/?endpoint=two", false},
		{"s3://b?endpoint=one", "s3://b/", false},
		{"file:///srv", "file:///srv/x", true},
		{"file:///srv", "file:///srv2", false},
	} {
		if got := ConcernsStore(tt.name, tt.store); got != tt.want {
			t.Errorf("ConcernsStore(%q, %q) = %v, want %v", tt.name, tt.store, got, tt.want)
		}
	}
}

// A name that was checked once is checked again wherever it is kept.
func TestLimitCheckKeepsItsName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"s3://photos/": "s3://photos", "file:///": "file:///", "file:///srv/": "file:///srv", "store://old/": "store://old",
	} {
		l := Limit{Scope: LimitStore, Name: name, Rate: Rate{Bytes: 1 << 20}}
		for range 2 {
			if err := l.Check(); err != nil || l.Name != want {
				t.Errorf("Check() of %s = %v and makes it %s, want %s", name, err, l.Name, want)
			}
		}
	}
}

// What a named store comes to, and what is opened as one, the agents know alone:
// a limit of either may be about the other, but is not known to be.
func TestLimitConcernsNamedStores(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, source, target string
		may, does            bool
	}{
		{"s3://photos", "store://old/2020", "file:///x", true, false},
		{"store://old", "store://old/2020", "store://new", true, true},
		{"store://new", "store://old/2020", "store://other", false, false},
		{"s3://photos", "s3://other", "file:///x", false, false},
		{"store://old", "s3://photos", "store://other", true, false},
		{"store://old", "store://other", "s3://photos", true, false},
		{"s3://photos", "s3://photos/2020", "s3://other", true, true},
	} {
		l := Limit{Scope: LimitStore, Name: tt.name}
		if got := l.MayConcern(1, tt.source, tt.target, "s"); got != tt.may {
			t.Errorf("a limit of %s may concern a job from %s to %s: %v, want %v", tt.name, tt.source, tt.target, got, tt.may)
		}
		if got := l.Concerns(1, tt.source, tt.target, "s"); got != tt.does {
			t.Errorf("a limit of %s concerns a job from %s to %s: %v, want %v", tt.name, tt.source, tt.target, got, tt.does)
		}
	}
}
