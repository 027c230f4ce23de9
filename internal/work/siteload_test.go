package work

import (
	"testing"
	"time"
)

// TestLoadAtCountsWorkOfAnySite: whoever starts and stops the agents of one site
// must not stop the last while work waits that it could take.
func TestLoadAtCountsWorkOfAnySite(t *testing.T) {
	t.Parallel()
	loads := []SiteLoad{
		{Site: AnySite, Ready: 40, Queued: 2, Bytes: 300, Oldest: time.Hour},
		{Site: "a", Agents: 2, Streams: 16, Rate: 10},
		{Site: "b", Ready: 1, Queued: 1, Bytes: 7, Oldest: time.Minute, Agents: 1, Streams: 8, Rate: 5},
	}
	for _, want := range []SiteLoad{
		{Site: "a", Ready: 40, Queued: 2, Bytes: 300, Oldest: time.Hour, Agents: 2, Streams: 16, Rate: 10},
		{Site: "b", Ready: 41, Queued: 3, Bytes: 307, Oldest: time.Hour, Agents: 1, Streams: 8, Rate: 5},
		{Site: "empty", Ready: 40, Queued: 2, Bytes: 300, Oldest: time.Hour},
		{Site: AnySite, Ready: 40, Queued: 2, Bytes: 300, Oldest: time.Hour, Agents: 3, Streams: 24, Rate: 15},
	} {
		if got := LoadAt(loads, want.Site); got != want {
			t.Errorf("LoadAt %s = %+v, want %+v", want.Site, got, want)
		}
		if LoadAt(loads, want.Site).Desired(32) == 0 {
			t.Errorf("%s could use no agent while work waits that it could do", want.Site)
		}
	}
}
