package work

import "time"

// A SiteLoad is how much there is to do at a site, and who is there to do it.
type SiteLoad struct {
	Site   string
	Ready  int64         // items of running jobs to be handed out, up to a bound
	Queued int64         // items of running jobs on the queue or with an agent
	Bytes  int64         // of objects found that did not arrive yet; those that failed count too
	Oldest time.Duration // how long the item has waited that was due first; 0: none waits

	Agents  int     // that take work
	Streams int     // objects that those may move at once
	Rate    float64 // bytes a second, of those together
}

// Items is how many items are open.
func (l SiteLoad) Items() int64 { return l.Ready + l.Queued }

// Desired returns how many agents would have perAgent items each, rounded up.
// It looks at the work alone and not at how fast it goes: a store that slows
// everybody down must not call for more.
func (l SiteLoad) Desired(perAgent int64) int64 { return (l.Items() + perAgent - 1) / perAgent }

// LoadAt returns how much a site could do, of the loads of all, and who is there
// to do it: its own work and that of AnySite. At AnySite those of all sites do it.
// A site that is not among them has no agents.
func LoadAt(loads []SiteLoad, site string) SiteLoad {
	at := SiteLoad{Site: site}
	for _, l := range loads {
		if l.Site == site || l.Site == AnySite {
			at.Ready, at.Queued, at.Bytes = at.Ready+l.Ready, at.Queued+l.Queued, at.Bytes+l.Bytes
			at.Oldest = max(at.Oldest, l.Oldest)
		}
		if l.Site == site || site == AnySite {
			at.Agents, at.Streams, at.Rate = at.Agents+l.Agents, at.Streams+l.Streams, at.Rate+l.Rate
		}
	}
	return at
}
