package ledger

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tranship/tranship/internal/work"
)

// mostBytes bounds what a result may claim of an object or of itself, so that
// no agent can make a job's counters overflow.
const mostBytes = 1 << 50

const (
	// maxUploadID bounds what a target may call an upload: every message about
	// it carries the name.
	maxUploadID = 4 << 10
	// maxPartsJSON bounds what all parts take in the message of their finish,
	// which must stay below what a server takes, 1 MiB.
	maxPartsJSON = 960 << 10
)

// fits reports why a result cannot be one of the item.
func (row *openItem) fits(r work.Result) error {
	switch {
	case r.Kind != row.Kind:
		return fmt.Errorf("the result is of a %s, the item is a %s", r.Kind, row.Kind)
	case r.Moved < 0 || r.Moved > mostBytes:
		return fmt.Errorf("the result says that %d bytes were moved", r.Moved)
	case r.Fault != "":
		return nil
	case row.Kind == work.Scan && r.Page == nil:
		return errors.New("the result of a scan has no page")
	case row.Kind == work.Begin && r.Upload != nil:
		return fitsUpload(r)
	case row.Kind == work.Part:
		return row.fitsPart(r.Part)
	case row.carries() && len(r.Outcomes) != row.Amount:
		return fmt.Errorf("the result has %d outcomes for %d objects", len(r.Outcomes), row.Amount)
	}
	return nil
}

func fitsUpload(r work.Result) error {
	switch {
	case !knownAs(r.Upload.ID):
		return fmt.Errorf("the result names an upload in %d bytes that cannot be kept", len(r.Upload.ID))
	case r.Object == nil || r.Object.Size > mostBytes:
		return errors.New("the result opens an upload of no object, or of one that cannot be")
	}
	return nil
}

// knownAs reports whether a target's name for an upload can be kept.
func knownAs(id string) bool { return id != "" && len(id) <= maxUploadID && work.IsText(id) }

func (row *openItem) fitsPart(p *work.StoredPart) error {
	switch {
	case p == nil || p.N != row.N || p.Tag == "":
		return fmt.Errorf("the result is not of part %d", row.N)
	case !work.IsText(p.Tag):
		return fmt.Errorf("the target's name for part %d cannot be kept", row.N)
	case row.upload == nil:
		return fmt.Errorf("part %d belongs to no upload", row.N)
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if most := maxPartsJSON / row.upload.Parts; len(text) >= most {
		return fmt.Errorf("part %d takes %d bytes; with %d parts it may take %d", row.N, len(text), row.upload.Parts, most)
	}
	return nil
}

// carries reports whether the item has objects to account for.
func (row *openItem) carries() bool {
	return row.Kind == work.Copy || row.Kind == work.Begin || row.Kind == work.Finish
}

// check reports why a verdict would lose or double objects or parts.
func (row *openItem) check(v work.Verdict) error {
	if v.State == work.Ready {
		return row.checkReturned(v)
	}
	carried := 0
	for _, n := range v.Items {
		if err := row.checkNew(n, v); err != nil {
			return err
		}
		carried += len(n.Objects)
	}
	switch row.Kind {
	case work.Scan:
		return nil
	case work.Part, work.Abort:
		return row.checkStep(v)
	}
	t := tallyOf(v.Outcomes)
	switch {
	case v.State != work.Done:
		return fmt.Errorf("a %s cannot become %s", row.Kind, v.State)
	case len(v.Outcomes) != row.Amount:
		return fmt.Errorf("the verdict has %d outcomes for %d objects", len(v.Outcomes), row.Amount)
	case t.handed != carried:
		return fmt.Errorf("the verdict hands on %d objects in items of %d", t.handed, carried)
	case t.failed+t.handed > 0 && len(row.item.Objects) != row.Amount:
		return errors.New("the verdict makes a success become a failure")
	}
	switch {
	case row.Kind == work.Finish:
		return row.checkFinish(v, t)
	case v.Upload != nil:
		return row.checkBegun(v)
	}
	return nil
}

// checkReturned reports why an item does not go back as it is.
func (row *openItem) checkReturned(v work.Verdict) error {
	if len(v.Items)+len(v.Outcomes) > 0 || v.Upload != nil || v.Part != nil || v.Abandon {
		return fmt.Errorf("the verdict gives a %s back and yet makes something of it", row.Kind)
	}
	return nil
}

// checkNew reports why an item cannot follow from this one.
func (row *openItem) checkNew(n work.NewItem, v work.Verdict) error {
	opens := row.Kind == work.Begin && v.Upload != nil
	single := n.Kind == work.Begin || n.Kind == work.Finish
	step := n.Kind == work.Part || n.Kind == work.Abort
	switch {
	case n.Kind == work.Scan && n.Range == nil, n.Kind == work.Copy && len(n.Objects) == 0:
		return fmt.Errorf("the verdict has an empty %s item", n.Kind)
	case single && len(n.Objects) != 1, step && len(n.Objects) != 0:
		return fmt.Errorf("the verdict has a %s of %d objects", n.Kind, len(n.Objects))
	case n.Kind == work.Scan && row.Kind != work.Scan,
		n.Kind == work.Part && row.Kind != work.Part && !opens,
		n.Kind == work.Finish && row.Kind != work.Finish && !opens,
		n.Kind != row.Kind && (n.Kind == work.Abort || row.Kind == work.Abort || row.Kind == work.Part):
		return fmt.Errorf("the verdict makes a %s become a %s", row.Kind, n.Kind)
	case n.Outcomes != nil && (n.Kind != work.Copy || len(n.Outcomes) != len(n.Objects) || tallyOf(n.Outcomes).handed > 0):
		return errors.New("the verdict has an item that is done without being so")
	}
	for _, o := range n.Objects {
		if o.Size < 0 || o.Size > mostBytes {
			return fmt.Errorf("the verdict has an object of %d bytes: %s", o.Size, work.Quote(o.Key))
		}
	}
	return nil
}

// checkBegun reports why a verdict does not open an upload with all its parts.
func (row *openItem) checkBegun(v work.Verdict) error {
	if v.Object == nil || v.Object.Size < 1 || v.Upload.Part < 1 || v.Outcomes[0].Outcome != work.Begun ||
		len(v.Items) == 0 || v.Items[0].Kind != work.Finish {
		return errors.New("the verdict opens an upload without its object or its finish")
	}
	parts := v.Items[1:]
	if n := v.Upload.Parts(v.Object.Size); len(parts) != n || n < 1 || n > work.MaxParts {
		return fmt.Errorf("the verdict opens an upload of %d parts with %d", n, len(parts))
	}
	for i, n := range parts {
		if n.Kind != work.Part || n.N != i+1 {
			return fmt.Errorf("the verdict has a %s %d in the place of part %d", n.Kind, n.N, i+1)
		}
	}
	return nil
}

// checkStep reports why a part or an abort cannot become what the verdict
// says: there is one more attempt, or it has come to an end.
func (row *openItem) checkStep(v work.Verdict) error {
	stored := 0
	if v.Part != nil {
		stored = 1
	}
	ends := v.State == work.Dead && len(v.Items) == 0
	switch {
	case row.upload == nil:
		return fmt.Errorf("the %s belongs to no upload", row.Kind)
	case row.Kind == work.Part && (ends && stored == 0 || v.State == work.Done && stored+len(v.Items) == 1):
	case row.Kind == work.Abort && (ends || v.State == work.Done && len(v.Items) <= 1) && stored == 0:
	default:
		return fmt.Errorf("the verdict makes a %s %s with %d items", row.Kind, v.State, len(v.Items))
	}
	for _, n := range v.Items {
		if n.N != row.N {
			return fmt.Errorf("the verdict makes part %d become part %d", row.N, n.N)
		}
	}
	return nil
}

// checkFinish reports why a verdict leaves an upload without an end.
func (row *openItem) checkFinish(v work.Verdict, t tally) error {
	goesOn := len(v.Items) == 1 && v.Items[0].Kind == work.Finish
	ends := t.copied == 1 // an object that is skipped is not whole at the target
	switch {
	case row.upload == nil:
		return errors.New("the finish belongs to no upload")
	case v.Abandon == (goesOn || ends):
		return fmt.Errorf("the verdict makes a finish %s with %d items and abandons its upload: %t", v.State, len(v.Items), v.Abandon)
	}
	return nil
}
