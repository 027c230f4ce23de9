package web

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Spans after which silence is worth a word.
const (
	agentSilent = 20 * time.Second // agents are heard from every few seconds
	agentLost   = time.Hour        // an agent silent for longer was taken away, not lost
)

// adviceOn says what each fault means and what to do about it.
var adviceOn = map[work.Fault]string{
	work.Transient:   "The network or a store failed again and again. When it is well, retry.",
	work.Throttled:   "A store asked to slow down for longer than the attempts lasted. Run fewer streams, or retry later.",
	work.NotFound:    "The object, or its bucket, was gone when it was read. If that is as it should be, nothing is left to do.",
	work.Denied:      "A store refused the agent. Check the agent's credentials and the bucket's policy, then retry.",
	work.SrcChanged:  "The source kept changing while it was read. Stop its writers, or retry when they rest.",
	work.Corrupt:     "The bytes did not match their checksum or length, each time. Compare the object at its source before a retry.",
	work.Unsupported: "The target cannot hold such an object, often because of its key or size. Another target, or another key, is needed.",
	work.Invalid:     "The request itself was wrong, such as a store's URL. Create a job with the right one.",
	work.Internal:    "A defect of Tranship, or an object that ends every agent that touches it. The agents' logs have more; please report it.",
}

// A notice is something that needs a person, and what that person can do.
type notice struct {
	Bad   bool // else it can wait
	Stall bool // a job stands still
	Text  string
	Do    string
	CLI   string // a command that helps; may be empty
	Href  string // where to look; may be empty
}

// attention lists what needs a person, the most urgent first: pure, so that it
// can be tested. failing lists the dependencies that do not work.
func attention(failing []failure, open, ended []jobRow, agents []agentRow, now time.Time) []notice {
	var list []notice
	for _, f := range failing {
		if f.Name == "agents" {
			continue // said below, site by site
		}
		list = append(list, notice{Bad: true, Text: "The coordinator's " + f.Name + " " + f.Why + ".",
			Do: "Jobs wait, and go on by themselves once it works again.", CLI: "journalctl -u tranship-coordinator"})
	}
	list = append(list, unmanned(open, agents)...)
	list = append(list, stalls(open, now)...)
	list = append(list, troubled(agents)...)
	list = append(list, silent(agents, now)...)
	for _, j := range open {
		if j.Failed > 0 {
			list = append(list, notice{Text: fmt.Sprintf("%s: %s given up so far.", j.Label(), objectsText(j.Failed)),
				Do: "The others go on. See what they have in common.", Href: j.Href + "#failures"})
		}
	}
	for _, j := range ended {
		switch j.State {
		case work.JobFailed:
			list = append(list, notice{Bad: true, Text: fmt.Sprintf("%s could not list its source whole: %s", j.Label(), clean(j.Error)),
				Do: "Mend the cause, then retry.", CLI: "tranship job retry " + j.ID.String(), Href: j.Href})
		case work.Incomplete:
			list = append(list, notice{Text: fmt.Sprintf("%s ended with %s given up.", j.Label(), objectsText(j.Failed)),
				Do: "See why, mend the cause, then retry.", CLI: "tranship job retry " + j.ID.String(), Href: j.Href + "#failures"})
		}
	}
	slices.SortStableFunc(list, func(a, b notice) int {
		switch {
		case a.Bad == b.Bad:
			return 0
		case a.Bad:
			return -1
		}
		return 1
	})
	return list
}

// unmanned lists running jobs of which no agent takes work, those for the same
// reason together.
func unmanned(open []jobRow, agents []agentRow) []notice {
	var alive []work.Presence
	for _, a := range agents {
		if !a.Silent {
			alive = append(alive, a.Presence)
		}
	}
	waiting := map[work.Wait][]jobRow{}
	var reasons []work.Wait
	for _, j := range open {
		if j.State != work.Running || j.Stalled != nil && j.Stalled.Cause == work.StallNoAgent {
			continue // of a stalled one it is said below
		}
		w := j.Awaits(alive)
		if w == nil {
			continue
		}
		if waiting[*w] == nil {
			reasons = append(reasons, *w)
		}
		waiting[*w] = append(waiting[*w], j)
	}
	slices.SortFunc(reasons, func(a, b work.Wait) int { return strings.Compare(a.Why, b.Why) })
	var list []notice
	for _, w := range reasons {
		jobs := waiting[w]
		who := "Job " + jobs[0].ID.String() + " is waiting for an agent"
		if len(jobs) > 1 {
			who = jobsText(jobs) + " are waiting for an agent"
		}
		list = append(list, notice{Bad: true, Text: who + ": " + clean(w.Why) + ".", Do: clean(w.Next), Href: "/agents?" + url.Values{"site": {clean(jobs[0].Site)}}.Encode()})
	}
	return list
}

// troubled lists what keeps agents from working, the agents of one trouble
// together.
func troubled(agents []agentRow) []notice {
	stuck := map[string][]agentRow{}
	var troubles []string
	for _, a := range agents {
		if !a.Stuck() {
			continue
		}
		if stuck[a.Trouble] == nil {
			troubles = append(troubles, a.Trouble)
		}
		stuck[a.Trouble] = append(stuck[a.Trouble], a)
	}
	var list []notice
	for _, trouble := range troubles {
		who := stuck[trouble]
		text, do := "Agent "+clean(who[0].Agent)+" cannot work: ", "Its work waits, or goes to others. Once the cause is mended it goes on by itself."
		if len(who) > 1 {
			do = "Their work waits, or goes to others. Once the cause is mended they go on by themselves."
			text = fmt.Sprintf("%d agents cannot work (%s): ", len(who), namesOf(who))
		}
		list = append(list, notice{Bad: true, Text: text + clean(trouble) + ".", Do: do, Href: hrefOf(who, "trouble")})
	}
	return list
}

// silent names agents that were heard from within the hour and no longer are.
func silent(agents []agentRow, now time.Time) []notice {
	var who []agentRow
	for _, a := range agents {
		if a.Lost() && now.Sub(a.LastSeen) < agentLost {
			who = append(who, a)
		}
	}
	if len(who) == 0 {
		return nil
	}
	text, do := "Agent "+clean(who[0].Agent)+" has fallen silent.", "What it had in hand goes to others. If it was not stopped on purpose, look at its machine."
	if len(who) > 1 {
		do = "What they had in hand goes to others. If they were not stopped on purpose, look at their machines."
		text = fmt.Sprintf("%d agents have fallen silent: %s.", len(who), namesOf(who))
		if len(who) > 5 {
			text = fmt.Sprintf("%d agents have fallen silent.", len(who))
		}
	}
	return []notice{{Text: text, Do: do, CLI: "journalctl -u tranship-agent", Href: hrefOf(who, "silent")}}
}

// namesOf names the first of some agents.
func namesOf(agents []agentRow) string {
	var names []string
	for _, a := range agents[:min(len(agents), 5)] {
		names = append(names, clean(a.Agent))
	}
	return strings.Join(names, ", ")
}

// hrefOf is where to look at agents that are alike.
func hrefOf(agents []agentRow, word string) string {
	if len(agents) == 1 {
		return agents[0].Href
	}
	return "/agents?text=" + word
}

// stalls lists jobs that stand still, those for the same reason together.
func stalls(open []jobRow, now time.Time) []notice {
	together := map[string][]jobRow{}
	var reasons []string
	for _, j := range open {
		if j.Stalled == nil {
			continue
		}
		if together[j.Stalled.Why] == nil {
			reasons = append(reasons, j.Stalled.Why)
		}
		together[j.Stalled.Why] = append(together[j.Stalled.Why], j)
	}
	var list []notice
	for _, why := range reasons {
		jobs := together[why]
		first := jobs[0]
		who := first.Label() + " is stalled"
		if len(jobs) > 1 {
			who = jobsText(jobs) + " are stalled"
		}
		for _, j := range jobs {
			if j.Stalled.Since.Before(first.Stalled.Since) {
				first = j
			}
		}
		since := when(first.Stalled.Since, now)
		list = append(list, notice{Bad: !first.Stalled.Waits(), Stall: true, Href: first.Href,
			Text: fmt.Sprintf("%s, nothing has moved since %s (%s): %s.", who, since.Stamp, since.Ago, clean(why)),
			Do:   clean(first.Stalled.Next), CLI: "tranship job show " + first.ID.String()})
	}
	return list
}

// jobsText names several jobs.
func jobsText(jobs []jobRow) string {
	if len(jobs) > 5 {
		return strconv.Itoa(len(jobs)) + " jobs"
	}
	names := make([]string, len(jobs))
	for i, j := range jobs {
		names[i] = j.ID.String()
	}
	return "Jobs " + strings.Join(names, ", ")
}

func objectsText(n int64) string {
	if n == 1 {
		return "1 object"
	}
	return comma(n) + " objects"
}
