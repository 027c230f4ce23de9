package cli

import (
	"context"
	"strconv"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// copyDryRun says what a copy would do and what does not fit. It changes
// neither store.
func (p *program) copyDryRun(ctx context.Context, o *copyOrder) error {
	cfg, err := p.alone(o.data)
	if err != nil {
		return err
	}
	known := opener(cfg)
	if err := checkStores(ctx, known, o.source, o.target); err != nil {
		return err
	}
	source, err := known.Open(ctx, o.source)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := known.Open(ctx, o.target)
	if err != nil {
		return err
	}
	defer target.Close()
	found, err := lookBefore(ctx, source, target, o.options, o.inspect)
	if err != nil {
		return err
	}
	p.say("nothing was written; %s objects were looked at for metadata that does not fit", count(found.Inspected))
	if o.out == formatJSON || o.out == formatNDJSON {
		err = writeOne(p.stdout, o.out, found, nil)
	} else {
		err = writeRows(p.stdout, o.out, each(found.rows()), dryColumns())
	}
	if err != nil {
		return err
	}
	return found.verdict()
}

// lookBefore finds out what a copy would do. It looks at up to inspect objects
// for their metadata.
func lookBefore(ctx context.Context, source, target storage.Store, o work.Options, inspect int) (*preflight, error) {
	found := &preflight{}
	var err error
	if found.Report.Source, err = probe(ctx, source); err != nil {
		return nil, err
	}
	if found.Report.Target, err = probe(ctx, target); err != nil && !storage.Is(err, work.NotFound) {
		return nil, err
	}
	for _, m := range storage.Losses(source.Traits(), target.Traits(), o.Class) {
		found.Report.Losses = append(found.Report.Losses, work.Loss{Field: m.Field, Policy: o.Carry.For(m.Field), Why: m.Why})
	}
	c, absent := newChecker(source, target, o, inspect), false
	if err := c.run(ctx, &absent); err != nil {
		return nil, err
	}
	if absent {
		found.Report.Target.Facts = append(found.Report.Target.Facts, work.Fact{Name: "state", Text: "not there yet"})
	}
	found.Inspected, err = inspectAll(ctx, source, target, o, found.Report.Losses, c.inspect.values(), c.found)
	found.Plan, found.Big, found.Findings = c.plan(), c.big, c.found.sorted()
	return found, err
}

// probe returns what is known of a store. It writes nothing, at the target
// neither.
func probe(ctx context.Context, s storage.Store) (work.StoreReport, error) {
	r := work.StoreReport{Driver: s.Traits().Name}
	var err error
	if pr, ok := s.(storage.Prober); ok {
		r.Facts, err = pr.Probe(ctx, false)
	}
	return r, err
}

// run shows the checker the keys of both ends.
func (c *checker) run(ctx context.Context, absent *bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for p, err := range paired(listed(ctx, c.source), orAbsent(listed(ctx, c.target), absent)) {
		if err != nil {
			return err
		}
		if p.over && !c.collider.waits() {
			return nil
		}
		if err := c.check(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// A dryRow is a line of the table of a dry run.
type dryRow struct {
	about, name    string
	policy         work.Policy
	objects, bytes int64 // -1: not about objects
	text, examples string
}

// rows returns a dry run as a table.
func (p *preflight) rows() []dryRow {
	var rows []dryRow
	for _, t := range p.Plan {
		rows = append(rows, dryRow{about: "plan", name: t.Action, objects: t.Objects, bytes: t.Bytes, text: t.Why})
	}
	if p.Big.Objects > 0 {
		rows = append(rows, dryRow{about: "plan", name: "in parts", objects: p.Big.Objects, bytes: p.Big.Bytes,
			text: "of these, " + bytesText(p.Big.From) + " or more: any agent moves any part"})
	}
	store := func(about string, s work.StoreReport) {
		rows = append(rows, dryRow{about: about, name: "kind", objects: -1, bytes: -1, text: s.Driver})
		for _, f := range s.Facts {
			rows = append(rows, dryRow{about: about, name: f.Name, objects: -1, bytes: -1, text: f.Text})
		}
	}
	store("source", p.Report.Source)
	store("target", p.Report.Target)
	for _, l := range p.Report.Losses {
		rows = append(rows, dryRow{about: "cannot hold", name: string(l.Field), policy: l.Policy, objects: -1, bytes: -1, text: l.Why})
	}
	for _, f := range p.Findings {
		r := dryRow{about: "does not fit", name: f.about(), policy: f.Policy, objects: f.Objects, bytes: f.Bytes, text: f.Why, examples: f.examples()}
		if f.Sampled {
			r.text += " (of " + count(p.Inspected) + " objects looked at)"
		}
		rows = append(rows, r)
	}
	return rows
}

func dryColumns() []column[dryRow] {
	number := func(name string, n func(dryRow) int64, words func(int64) string) column[dryRow] {
		write := func(how func(int64) string) func(dryRow) string {
			return func(r dryRow) string {
				if n(r) < 0 {
					return "-"
				}
				return how(n(r))
			}
		}
		return column[dryRow]{name, write(words), write(func(n int64) string { return strconv.FormatInt(n, 10) })}
	}
	return []column[dryRow]{
		plain("about", func(r dryRow) string { return r.about }),
		plain("name", func(r dryRow) string { return text(r.name) }),
		plain("policy", func(r dryRow) string { return text(string(r.policy)) }),
		number("objects", func(r dryRow) int64 { return r.objects }, count),
		number("bytes", func(r dryRow) int64 { return r.bytes }, bytesText),
		plain("why", func(r dryRow) string { return text(r.text) }),
		plain("examples", func(r dryRow) string {
			if r.examples == "" {
				return "-"
			}
			return r.examples
		}),
	}
}
