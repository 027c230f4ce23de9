package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// Limits of a new job.
const (
	maxName  = 200
	maxURL   = 4096
	maxTries = 100
	maxRule  = 1000
	maxCarry = 200
)

var newJobFields = fields{"name": nil, "source": nil, "target": nil, "site": nil, "class": nil,
	"options": {"verify": nil, "compare": nil, "max_attempts": nil, "split": nil, "class": nil, "carry": nil}}

// newJobJSON is api.NewJob with an explicit 0 told from nothing.
type newJobJSON struct {
	Name    string     `json:"name"`
	Source  string     `json:"source"`
	Target  string     `json:"target"`
	Site    string     `json:"site"`
	Class   work.Class `json:"class"`
	Options choices    `json:"options"`
}

// choices are the options of a job as a request gives them.
type choices struct {
	Verify      string `json:"verify"`
	Compare     string `json:"compare"`
	MaxAttempts *int   `json:"max_attempts"`
	Split       int64  `json:"split"`
	Class       string `json:"class"`
	Carry       string `json:"carry"`
}

// readNewJob returns the job that the request asks for, every field checked.
func readNewJob(r *http.Request) (work.NewJob, error) {
	var in newJobJSON
	var f findings
	if err := readBody(r, &in, false, newJobFields, &f); err != nil {
		return work.NewJob{}, err
	}
	nj := work.NewJob{Name: in.Name, Source: in.Source, Target: in.Target, Site: in.Site, Class: in.Class,
		SubmittedBy: readWho(r, &f)}
	if why := checkLine(nj.Name, maxName); why != "" {
		f.body("/name", "%s", why)
	}
	checkStores(nj.Source, nj.Target, &f)
	if nj.Site != "" { // else the commander chooses
		if err := work.CheckName("site", nj.Site); err != nil {
			f.body("/site", "%s", err)
		}
	}
	if nj.Class == "" {
		nj.Class = work.Norm
	}
	if !slices.Contains(work.Classes(), nj.Class) {
		f.body("/class", "unknown class %q: use hi, norm or lo", clip(string(nj.Class)))
	}
	nj.Options = in.Options.read(&f)
	return nj, f.err()
}

// read returns the options that are asked for, every one checked.
func (c choices) read(f *findings) work.Options {
	o := work.DefaultOptions()
	var err error
	if o.Verify, err = work.ParseVerify(clip(c.Verify)); err != nil {
		f.body("/options/verify", "%s", err)
	}
	if o.Compare, err = work.ParseCompare(clip(c.Compare)); err != nil {
		f.body("/options/compare", "%s", err)
	}
	if c.MaxAttempts != nil {
		o.MaxAttempts = *c.MaxAttempts
	}
	if n := o.MaxAttempts; n < 1 || n > maxTries {
		f.body("/options/max_attempts", "must be from 1 to %d, not %d", maxTries, n)
	}
	if o.Split = c.Split; c.Split != 0 && c.Split < api.MinSplit {
		f.body("/options/split", "must be at least %d bytes (8 MiB), or 0 for the default, not %d", api.MinSplit, c.Split)
	}
	o.Class = readRule(c.Class, "/options/class", maxRule, work.ParseClassRule, f)
	o.Carry = readRule(c.Carry, "/options/carry", maxCarry, work.ParseCarry, f)
	return o
}

// readRule parses a text, bounded first: what is wrong with it quotes it.
func readRule[T ~string](text, pointer string, most int, parse func(string) (T, error), f *findings) T {
	if why := checkLine(text, most); why != "" {
		f.body(pointer, "%s", why)
		return ""
	}
	rule, err := parse(text)
	if err != nil {
		f.body(pointer, "%s", err)
	}
	return rule
}

func checkStores(source, target string, f *findings) {
	before := len(*f)
	if why := checkURL(source); why != "" {
		f.body("/source", "%s", why)
	}
	if why := checkURL(target); why != "" {
		f.body("/target", "%s", why)
	}
	if len(*f) == before && source == target {
		f.body("/target", "is the source: a store cannot be copied onto itself")
	}
}

// checkURL says what is wrong with a store's URL, never quoting it: it may
// hold a secret. Whether a driver knows it is for the agents to say.
func checkURL(raw string) string {
	const example = "such as s3://bucket/prefix or file:///folder"
	switch {
	case raw == "":
		return "is missing: give a store URL " + example
	case len(raw) > maxURL:
		return fmt.Sprintf("is longer than %d bytes", maxURL)
	case !printable(raw):
		return "holds characters that cannot be printed: percent-encode them"
	}
	u, err := url.Parse(raw)
	if err != nil {
		why := "its syntax is wrong"
		var ue *url.Error
		var esc url.EscapeError
		if errors.As(err, &ue) && errors.As(ue.Err, &esc) {
			why = "a % in it begins no escape: write %25 for %"
		}
		return "is not a URL: " + why
	}
	switch {
	case u.Scheme == "":
		return "has no scheme: give a store URL " + example
	case u.Opaque != "" || u.Host == "" && u.Path == "":
		return "names no store: write " + u.Scheme + "://… " + example
	case u.Fragment != "":
		return "must not hold a #: write %23 if it belongs to the prefix"
	}
	if _, err := url.ParseQuery(u.RawQuery); err != nil {
		return "has a query that cannot be read"
	}
	if secret := work.SecretIn(u); secret != "" {
		return "must not hold credentials, such as " + secret + ": they belong to the agents, in their configuration's stores or their environment"
	}
	if u.Scheme == work.StoreScheme {
		return checkNamed(u)
	}
	return ""
}

// checkNamed says what is wrong with a URL that names a store of the agents'
// configuration. Whether there is one is for the agents to say.
func checkNamed(u *url.URL) string {
	if err := work.CheckName("store", u.Host); err != nil {
		return "names no store: " + err.Error()
	}
	for name := range u.Query() {
		if name != "prefix" {
			return fmt.Sprintf("has the parameter %q: of a named store the agents' configuration says everything but the prefix", clip(name))
		}
	}
	return ""
}
