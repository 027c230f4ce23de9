package ledger

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/tranship/tranship/internal/work"
)

// Page sizes of listings: what is given if nothing is asked for, and the most.
const (
	defaultPage = 100
	largestPage = 1000
)

// pageSize returns how many rows a listing gives when limit are asked for.
func pageSize(limit int) int {
	if limit <= 0 {
		return defaultPage
	}
	return min(limit, largestPage)
}

// A cursor is where a page of a listing ended. Callers see it coded and must
// not look inside.
type cursor struct {
	Of string `json:"of"` // the listing, and the job if it is of one
	ID int64  `json:"id"`
	N  int    `json:"n,omitempty"` // of an object: its position in item ID
}

func (c cursor) String() string {
	b, _ := json.Marshal(c) // three plain fields: it cannot fail
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor reads a cursor of the listing called of. An empty text gives the
// cursor to begin with.
func parseCursor(text, of string, begin cursor) (cursor, error) {
	if text == "" {
		return begin, nil
	}
	var c cursor
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || c.Of != of {
		return cursor{}, fmt.Errorf("%w: %q", work.ErrCursor, text)
	}
	return c, nil
}
