package gcsstore

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const pageSize = 1000

// What is asked for of each object: by a listing, and by who looks for pieces.
const (
	ofObjects = "name,size,generation,updated"
	ofPieces  = "name,size,generation,crc32c"
)

// A query asks for one page of a listing.
type query struct {
	prefix string
	start  string // the first name that is wanted
	token  string // where the page before ended; the rest must be as it was then
	fields string
}

// A page is an answer of the JSON API.
type page struct {
	Kind   string   `json:"kind"`
	Next   string   `json:"nextPageToken"`
	Groups []string `json:"prefixes"`
	Items  []entry  `json:"items"`
}

// An entry is what a page says of an object.
type entry struct {
	Name       string    `json:"name"`
	Size       int64     `json:"size,string"`
	Generation int64     `json:"generation,string"`
	Updated    time.Time `json:"updated"`
	CRC32C     []byte    `json:"crc32c"`
}

// page asks for a page of a listing. One that contradicts itself is errAnswer:
// a proxy or cache in between may have answered, or cut something off. The
// service does not repeat what it was asked, so that it answered something else
// shows only where the names do not follow each other.
func (s *Store) page(ctx context.Context, q query) (page, error) {
	ask := url.Values{
		"alt": {"json"}, "prettyPrint": {"false"}, "projection": {"noAcl"}, "maxResults": {strconv.Itoa(pageSize)},
		"fields": {"kind,nextPageToken,prefixes,items(" + q.fields + ")"},
	}
	for name, value := range map[string]string{"prefix": q.prefix, "startOffset": q.start, "pageToken": q.token} {
		if value != "" {
			ask.Set(name, value)
		}
	}
	resp, err := s.do(ctx, &request{method: http.MethodGet, path: "/storage/v1/b/" + escape(s.bucket) + "/o", query: ask})
	if err != nil {
		return page{}, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	resp.Body.Close()
	if err != nil {
		return page{}, fmt.Errorf("%w: read a page: %w", errAnswer, err)
	}
	wrong := func(format string, args ...any) (page, error) {
		return page{}, fmt.Errorf("%w: page of a listing: %s", errAnswer, fmt.Sprintf(format, args...))
	}
	var p page
	switch err := json.Unmarshal(body, &p); {
	case err != nil:
		return wrong("%v", err)
	case p.Kind != "storage#objects":
		return wrong("it calls itself %.40q", p.Kind)
	case len(p.Groups) > 0:
		return wrong("it hides names in %d groups, which nobody asked for", len(p.Groups))
	case len(p.Items) > pageSize:
		return wrong("it holds %d objects", len(p.Items))
	case p.Next != "" && p.Next == q.token:
		return wrong("it names itself as the one that follows")
	}
	for _, e := range p.Items {
		switch {
		case e.Size < 0 || e.Generation == 0:
			return wrong("it says nothing of %s", work.Quote(e.Name))
		case !strings.HasPrefix(e.Name, q.prefix):
			return wrong("%s is in a listing of prefix %s", work.Quote(e.Name), work.Quote(q.prefix))
		}
	}
	return p, nil
}

func disorder(name, last string) error {
	return fmt.Errorf("%w: %s after %s", errOrder, work.Quote(name), work.Quote(last))
}
