package work

import (
	"fmt"
	"strconv"
	"strings"
)

// Subjects of the queue. Every item has a subject of its own: the stream
// holds one message per subject, which makes publishing idempotent.
const (
	workRoot   = "tranship.work."
	resultRoot = "tranship.result."
	beatRoot   = "tranship.beat."
)

// Subject returns where the item travels:
// tranship.work.<site>.<class>.<job>.<item>.
func (it Item) Subject() string {
	return workRoot + it.Site + "." + string(it.Class) + "." + it.Job.String() + "." + it.ID.String()
}

// WorkSubjects returns the pattern of all items of a site.
func WorkSubjects(site string) string { return workRoot + site + ".*.*.*" }

// AllWorkSubjects is the pattern of all items of all sites.
const AllWorkSubjects = workRoot + "*.*.*.*"

// ClassSubjects returns the pattern of a site's items of one class.
func ClassSubjects(site string, c Class) string {
	return workRoot + site + "." + string(c) + ".*.*"
}

// JobSubjects returns the pattern of a site's items of one job.
func JobSubjects(site string, job JobID) string {
	return workRoot + site + ".*." + job.String() + ".*"
}

// ResultSubject returns where an agent's result of an item travels:
// tranship.result.<site>.<agent>.<job>.<item>.
func ResultSubject(site, agent string, job JobID, item ItemID) string {
	return resultRoot + site + "." + agent + "." + job.String() + "." + item.String()
}

// ResultSubjects is the pattern of all results.
const ResultSubjects = resultRoot + "*.*.*.*"

// BeatSubject returns where an agent says that it is alive.
func BeatSubject(site, agent string) string { return beatRoot + site + "." + agent }

// BeatSubjects is the pattern of all signs of life.
const BeatSubjects = beatRoot + "*.*"

// SplitResultSubject returns what a result's subject says. The subject is
// what the server's permissions vouch for; the body is only the agent's word.
func SplitResultSubject(subject string) (site, agent string, job JobID, item ItemID, err error) {
	rest, ok := strings.CutPrefix(subject, resultRoot)
	tok := strings.Split(rest, ".")
	if !ok || len(tok) != 4 {
		return "", "", 0, 0, fmt.Errorf("subject %q is not that of a result", subject)
	}
	j, jerr := strconv.ParseInt(tok[2], 10, 64)
	i, ierr := strconv.ParseInt(tok[3], 10, 64)
	if jerr != nil || ierr != nil || j <= 0 || i <= 0 {
		return "", "", 0, 0, fmt.Errorf("subject %q names no job and item", subject)
	}
	return tok[0], tok[1], JobID(j), ItemID(i), nil
}
