package work

import (
	"strings"
	"testing"
)

func TestJobAwaits(t *testing.T) {
	t.Parallel()
	running := func(site string, stores ...string) Presence {
		return Presence{Agent: "a", Site: site, State: "running", Stores: stores}
	}
	draining := Presence{Agent: "d", Site: "mars", State: "draining", Stores: []string{"old"}}
	tests := []struct {
		name, site, source, target string
		there                      []Presence
		want                       string // why; empty: it waits for nobody
		next                       string
	}{
		{"nobody", "mars", "s3://a", "s3://b", nil, "no agent is at site mars", "tranship fleet invite --site mars"},
		{"elsewhere", "mars", "s3://a", "s3://b", []Presence{running("venus")}, "no agent is at site mars", "--site mars"},
		{"there", "mars", "s3://a", "s3://b", []Presence{running("mars")}, "", ""},
		{"all draining", "mars", "s3://a", "s3://b", []Presence{draining, running("venus")}, "every agent at site mars is about to stop", "--site mars"},
		{"anywhere", AnySite, "s3://a", "s3://b", []Presence{running("venus")}, "", ""},
		{"nobody anywhere", AnySite, "s3://a", "s3://b", nil, "no agent is at any site", "--site SITE"},
		{"known", "mars", "store://old/x/", "store://new/", []Presence{running("mars", "new", "old")}, "", ""},
		{"each known to another", "mars", "store://old/", "store://new/", []Presence{running("mars", "new"), running("mars", "old"), running("venus", "old", "new")},
			"no agent at site mars knows both old and new", "Add the one that it lacks to stores"},
		{"both known to who leaves", "mars", "store://old/", "store://new/", []Presence{running("mars", "new"), running("mars", "old"), {Site: "mars", State: "draining", Stores: []string{"new", "old"}}},
			"no agent at site mars knows both old and new", "Add the one"},
		{"both known to one of many", AnySite, "store://old/", "store://new/", []Presence{running("mars", "new"), running("venus", "new", "old")}, "", ""},
		{"known elsewhere", "mars", "store://old/", "s3://b", []Presence{running("mars"), running("venus", "old")}, "no agent at site mars knows the store old", "Add old to stores"},
		{"known to who leaves", "mars", "s3://a", "store://old/", []Presence{running("mars"), draining}, "no agent at site mars knows the store old", "Add old"},
	}
	for _, tt := range tests {
		w := Job{Site: tt.site, Source: tt.source, Target: tt.target}.Awaits(tt.there)
		switch {
		case tt.want == "":
			if w != nil {
				t.Errorf("%s: it waits because %s", tt.name, w.Why)
			}
		case w == nil || !strings.HasPrefix(w.Why, tt.want) || !strings.Contains(w.Next, tt.next):
			t.Errorf("%s: it waits because %+v, want %q and %q", tt.name, w, tt.want, tt.next)
		}
	}
}
