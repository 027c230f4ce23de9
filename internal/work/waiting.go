package work

import (
	"fmt"
	"net/url"
	"slices"
)

// StoreScheme is that of store URLs that name a store of the agents'
// configuration: store://name/prefix/.
const StoreScheme = "store"

// StoreName returns the name of the store that a URL means by it, "" if it
// means none.
func StoreName(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != StoreScheme {
		return ""
	}
	return u.Host
}

// AtSite says where, as part of a sentence: "at site mars", "at any site".
func AtSite(site string) string {
	if site == AnySite {
		return "at any site"
	}
	return "at site " + site
}

// A Wait is why no agent takes work of a job.
type Wait struct {
	Why  string `json:"why"`  // a sentence's part, such as "no agent is at site mars"
	Next string `json:"next"` // what to do about it
}

// Awaits returns why none of the agents that are there, of any site, would take
// work of a job; nil if one would.
func (j Job) Awaits(there []Presence) *Wait {
	var here, taking []Presence
	for _, p := range there {
		if p.Site != j.Site && j.Site != AnySite {
			continue
		}
		if here = append(here, p); p.State != "draining" {
			taking = append(taking, p)
		}
	}
	where, site := AtSite(j.Site), j.Site
	if j.Site == AnySite {
		site = "SITE"
	}
	start := fmt.Sprintf("Start an agent there: tranship fleet invite --site %s says how. The job goes on by itself then.", site)
	switch {
	case len(here) == 0:
		return &Wait{"no agent is " + where, start}
	case len(taking) == 0:
		return &Wait{"every agent " + where + " is about to stop and takes nothing", start}
	}
	return j.awaitsStores(taking, where)
}

// awaitsStores returns which store is known to none of the agents; an agent that
// is to move anything knows both.
func (j Job) awaitsStores(taking []Presence, where string) *Wait {
	knows := func(p Presence, raw string) bool {
		name := StoreName(raw)
		return name == "" || slices.Contains(p.Stores, name)
	}
	for _, raw := range []string{j.Source, j.Target} {
		if !slices.ContainsFunc(taking, func(p Presence) bool { return knows(p, raw) }) {
			name := StoreName(raw)
			return &Wait{fmt.Sprintf("no agent %s knows the store %s", where, name),
				fmt.Sprintf("Add %s to stores in the configuration of an agent there and restart it. The job goes on by itself then.", name)}
		}
	}
	if slices.ContainsFunc(taking, func(p Presence) bool { return knows(p, j.Source) && knows(p, j.Target) }) {
		return nil
	}
	return &Wait{fmt.Sprintf("no agent %s knows both %s and %s", where, StoreName(j.Source), StoreName(j.Target)),
		"Add the one that it lacks to stores in the configuration of an agent there and restart it. The job goes on by itself then."}
}
