package plan

import (
	"fmt"

	"github.com/tranship/tranship/internal/work"
)

// scan decides on a page of a listing, or on a listing that failed.
func (p Planner) scan(item work.Item, r work.Result) work.Verdict {
	if item.Range == nil {
		return work.Verdict{} // without its cursor nothing may be decided
	}
	switch {
	case r.Fault != "":
		v := p.scanFailed(item, r.Fault, r.Error)
		v.Report = r.Report // it may say what to choose
		return v
	case r.Page == nil:
		return p.scanFailed(item, work.Internal, "agent reported a scan without a page")
	case Early(item, r) || late(*item.Range, *r.Page):
		return work.Verdict{}
	}
	if err := checkPage(*item.Range, *r.Page); err != nil {
		return p.scanFailed(item, work.Internal, err.Error())
	}
	v := applyPage(item, *r.Page)
	v.Report = r.Report
	return v
}

// Early reports whether r is a page that begins behind the scan's cursor:
// pages before it are still missing. Once they are recorded, it counts.
func Early(item work.Item, r work.Result) bool {
	return item.Kind == work.Scan && item.Range != nil && r.Fault == "" &&
		r.Page != nil && r.Page.After > item.Range.After
}

// late reports whether the page ends before the scan's cursor, so that it
// holds nothing new. A last page may also end at the cursor: it closes the
// scan even if it adds nothing.
func late(left work.Range, page work.Page) bool {
	if page.Last {
		return page.Upto != "" && page.Upto < left.After
	}
	return page.Upto != "" && page.Upto <= left.After
}

// checkPage refuses a page that contradicts itself or leaves the range of its
// item: to trust it would lose objects or plan them twice.
func checkPage(left work.Range, page work.Page) error {
	if page.Upto == "" && !page.Last {
		return fmt.Errorf("agent reported a page after %s that ends nowhere", work.Quote(page.After))
	}
	if left.Upto != "" && page.Upto > left.Upto {
		return fmt.Errorf("agent reported a page up to %s of a scan up to %s",
			work.Quote(page.Upto), work.Quote(left.Upto))
	}
	inside := work.Range{After: page.After, Upto: page.Upto}
	if inside.Upto == "" {
		inside.Upto = left.Upto
	}
	for _, f := range page.Found {
		switch {
		case !inside.Contains(f.Key):
			return fmt.Errorf("agent listed %s out of order or outside of its page", work.Quote(f.Key))
		case f.Size < 0:
			return fmt.Errorf("agent listed %s with size %d", work.Quote(f.Key), f.Size)
		}
		inside.After = f.Key
	}
	return nil
}

// applyPage plans what a page found behind the cursor.
func applyPage(item work.Item, page work.Page) work.Verdict {
	cursor := item.Range.After
	found := page.Found
	for len(found) > 0 && found[0].Key <= cursor {
		found = found[1:]
	}
	v := work.Verdict{State: work.Queued, Cursor: page.Upto}
	if page.Last {
		v.State = work.Done
		// Scans first: listing runs ahead of copying, so that the size of the
		// job is known early and agents never wait for pages.
		for _, r := range rest(*item.Range, page) {
			v.Items = append(v.Items, work.NewItem{Kind: work.Scan, Attempt: 1, Range: &r})
		}
	}
	if v.Cursor == "" { // to the end
		v.Cursor = max(cursor, item.Range.Upto)
		if len(found) > 0 {
			v.Cursor = max(v.Cursor, found[len(found)-1].Key)
		}
	}
	v.Items = append(v.Items, batches(item.Options, envelope(item), found)...)
	return v
}

// rest returns the ranges that a last page leaves over: those it names if
// they are exactly what is missing, else what is missing as one range.
func rest(left work.Range, page work.Page) []work.Range {
	if page.Upto == "" || page.Upto == left.Upto {
		return nil
	}
	missing := work.Range{After: page.Upto, Upto: left.Upto}
	if tiles(missing, page.Rest) {
		return page.Rest
	}
	return []work.Range{missing}
}

// tiles reports whether parts, in order, make up whole without gap or overlap.
func tiles(whole work.Range, parts []work.Range) bool {
	at := whole.After
	for i, r := range parts {
		last := i == len(parts)-1
		if r.After != at || last != (r.Upto == whole.Upto) || r.Upto != "" && r.Upto <= r.After {
			return false
		}
		at = r.Upto
	}
	return len(parts) > 0
}

// scanFailed hands the range that is left to a new scan item, or gives up.
func (p Planner) scanFailed(item work.Item, f work.Fault, text string) work.Verdict {
	switch {
	case !f.Retryable():
		return work.Verdict{State: work.Dead, Cursor: item.Range.After, Fault: f, Error: text}
	case spent(f, item.Attempt, item.Options.MaxAttempts):
		return work.Verdict{State: work.Dead, Cursor: item.Range.After, Fault: f, Error: exhausted(text, f, item.Attempt)}
	}
	left := *item.Range
	return work.Verdict{State: work.Done, Cursor: left.After, Fault: f, Error: text, Items: []work.NewItem{{
		Kind: work.Scan, Attempt: next(f, item.Attempt), Delay: p.delay(f, item.Attempt), Range: &left,
	}}}
}
