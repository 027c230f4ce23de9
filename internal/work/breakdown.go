package work

// A BreakdownQuery asks what lies below a prefix of a job's keys.
type BreakdownQuery struct {
	Job    JobID
	Prefix string // empty: all
}

// A Breakdown counts the objects of a job below a prefix by the next part of
// their keys, which ends with a slash.
type Breakdown struct {
	Rows []BreakdownRow `json:"rows"` // those with the most objects first
	// More counts what has no row of its own because there are too many.
	More      Counted `json:"more"`
	MoreParts int64   `json:"more_parts"` // how many parts of keys that are, as far as they were told apart
	// Mixed counts objects in batches that hold several parts and were too many
	// to look into.
	Mixed Counted `json:"mixed"`
	// Partial says that only the objects which were found first were counted:
	// there are too many.
	Partial bool `json:"partial"`
}

// Exact reports whether every object was counted where it belongs.
func (b Breakdown) Exact() bool { return !b.Partial && b.Mixed.Objects == 0 }

// A BreakdownRow is what lies below one prefix.
type BreakdownRow struct {
	Prefix string `json:"-"`              // of the keys, whole
	Leaf   bool   `json:"leaf,omitempty"` // objects whose keys have no further slash
	Counted
}

// A Counted is how many objects there are and how far they have come.
type Counted struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"` // of all of them
	Copied  int64 `json:"copied"`
	Skipped int64 `json:"skipped"`
	Failed  int64 `json:"failed"`
}

// Open is how many have no final outcome.
func (c Counted) Open() int64 { return c.Objects - c.Copied - c.Skipped - c.Failed }

// Plus returns both together.
func (c Counted) Plus(d Counted) Counted {
	return Counted{c.Objects + d.Objects, c.Bytes + d.Bytes, c.Copied + d.Copied, c.Skipped + d.Skipped, c.Failed + d.Failed}
}
