package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// figures prints what was measured in one line that can be searched for:
// "figures: " and the test's name, then what is given as name=value.
func figures(t testing.TB, pairs ...any) {
	t.Helper()
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, " %v=%v", pairs[i], pairs[i+1])
	}
	t.Logf("figures: %s%s", t.Name(), b.String())
}

// needless prints how often objects were written, and returns how many of
// these copies nobody needed. The bucket must keep its versions.
func needless(t testing.TB, srv *servers.S3, objects int, buckets ...string) int {
	t.Helper()
	written := 0
	for _, bucket := range buckets {
		written += countVersions(t, srv, bucket)
	}
	again := written - objects
	figures(t, "objects", objects, "written", written, "needless", again,
		"needless_percent", fmt.Sprintf("%.2f", 100*float64(again)/float64(objects)))
	return again
}

// handOuts prints how often items were handed out anew and how many results
// were stored beyond one an item. Pages of listings are results too.
func (f *fleet) handOuts(t testing.TB) {
	t.Helper()
	figures(t, "items", f.sql(t, "SELECT count(*) FROM tranship.items"),
		"published_again", f.sql(t, "SELECT coalesce(sum(epoch) - count(*), 0) FROM tranship.items WHERE epoch > 0"),
		"retries", f.sql(t, "SELECT coalesce(sum(retries), 0) FROM tranship.jobs"))
	if f.queue == nil {
		return
	}
	if results, ok := f.queue.stream(t, "TRANSHIP_RESULTS"); ok {
		figures(t, "results_stored", results.LastSeq,
			"items_closed_by_results", f.sql(t, "SELECT count(*) FROM tranship.items WHERE state IN ('done', 'dead') AND kind <> 'scan' AND agent <> ''"))
	}
}
