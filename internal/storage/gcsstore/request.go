package gcsstore

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const (
	attempts  = 3                // of one request, where it can be repeated
	knocks    = 2                // likewise, at a server that wants to be left alone
	thinking  = 20 * time.Minute // how long the service may put an object together
	maxAnswer = 4 << 20          // bytes of an answer that is read as a whole
)

// A request is one that Google's client has no words for, or none that say
// enough: the content of objects, and uploads in parts.
type request struct {
	method string
	path   string // escaped
	query  url.Values
	header http.Header
	wait   time.Duration // for the service to answer, beyond the usual

	// The request's body is head, then exactly size bytes of body, then tail.
	head, tail string
	body       io.Reader // nil: nothing but head and tail
	size       int64
	sums       storage.Sums // to compare the body with on its way
}

// do sends r and returns the answer, whose body the caller must close. An
// answer that is not a success is an error, an *apiError if the service gave
// it. What failed for a passing reason is repeated a few times, if the body
// allows it.
func (s *Store) do(ctx context.Context, r *request) (resp *http.Response, err error) {
	rewind := rewinder(r.body)
	err = s.again(ctx, rewind, func() error {
		resp, err = s.send(ctx, r)
		return err
	})
	return resp, err
}

// again calls try until it succeeds, fails for good, or has failed often
// enough; backing off for long is the engine's business. Between two calls
// rewind, if there is one, must be able to undo what the first has done.
func (s *Store) again(ctx context.Context, rewind func() bool, try func() error) error {
	for attempt := 1; ; attempt++ {
		err := try()
		if err == nil || ctx.Err() != nil || !repeatable(err, attempt) || rewind != nil && !rewind() {
			return err
		}
		if !sleep(ctx, pause(attempt, err)) {
			return err
		}
	}
}

// patience is how long the service may ask to be left alone for its request to
// be repeated here nevertheless. For longer, the engine takes over.
const patience = time.Second

// repeatable reports whether a request that has failed so often is worth
// another attempt at once. One that stalled has taken long enough; a service
// that wants to be left alone is, soon: the engine knows of all its requests.
func repeatable(err error, attempt int) bool {
	if faultOf(err) == work.Throttled && attempt >= knocks {
		return false
	}
	api := told(err)
	return attempt < attempts && passing(err) && !errors.Is(err, errStalled) && (api == nil || api.after <= patience)
}

// rewinder returns a function that makes a body ready to be sent again, from
// where it stands now, or reports that it cannot.
func rewinder(body io.Reader) func() bool {
	if body == nil {
		return nil
	}
	seeker, ok := body.(io.Seeker)
	if !ok {
		return func() bool { return false }
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	return func() bool {
		if err == nil {
			_, err = seeker.Seek(start, io.SeekStart)
		}
		return err == nil
	}
}

// pause is how long to wait after a failed attempt: longer where the service
// asked for less, never the same for all.
func pause(attempt int, err error) time.Duration {
	d := 50 * time.Millisecond << attempt
	if faultOf(err) == work.Throttled {
		d *= 4
	}
	d = d/2 + rand.N(d)
	if api := told(err); api != nil {
		d = max(d, min(api.after, patience))
	}
	return d
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// send sends r once.
func (s *Store) send(ctx context.Context, r *request) (*http.Response, error) {
	up := &upload{ctx: ctx, src: r.body, left: r.size}
	if algos := r.sums.Algos(); algos != 0 {
		up.want, up.digest = r.sums, storage.NewDigest(algos)
	}
	if r.body != nil && r.size == 0 {
		if up.err = up.problem(nil); up.err != nil {
			return nil, up.err
		}
	}
	var body io.Reader
	switch length := int64(len(r.head)) + r.size + int64(len(r.tail)); {
	case length == 0:
	case r.body == nil || r.size == 0:
		body = strings.NewReader(r.head + r.tail)
	default:
		// Not closed by the transport, which would not wait for a read.
		body = io.NopCloser(io.MultiReader(strings.NewReader(r.head), up, strings.NewReader(r.tail)))
	}
	if r.wait > 0 {
		ctx = withPatience(ctx, r.wait)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, s.client.base+r.path, body)
	if err != nil {
		return nil, err
	}
	req.URL.RawQuery = r.query.Encode()
	req.ContentLength = int64(len(r.head)) + r.size + int64(len(r.tail))
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header["User-Agent"] = []string{"tranship"}
	resp, err := s.client.http.Do(req)
	left, cause := up.finish()
	if cause != nil { // whatever the service says of it
		if err == nil {
			resp.Body.Close()
		}
		return nil, cause
	}
	if err != nil {
		return nil, bare(err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what can be read of it
		return nil, newAPIError(resp, text)
	}
	if left > 0 {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: status %d before the body was there", errAnswer, resp.StatusCode)
	}
	return resp, nil
}

// bare takes the URL off an error, for it is long and the store is named
// anyway.
func bare(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// roundTrip sends r and returns the answer's header and its whole body.
func (s *Store) roundTrip(ctx context.Context, r *request) (http.Header, []byte, error) {
	resp, err := s.do(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	return resp.Header, body, nil
}

// decode reads an XML answer. The service may find that it failed after it
// has sent status 200, and say so.
func decode(body []byte, into any) error {
	var refused xmlError
	if xml.Unmarshal(body, &refused) == nil {
		return &apiError{status: http.StatusOK, reason: refused.Code, message: refused.Message}
	}
	if err := xml.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%w: %w", errAnswer, err)
	}
	return nil
}

// errAnswer means that what came back is not what the protocol says.
var errAnswer = errors.New("the server's answer is not what Cloud Storage says it must be")

// objectPath is the escaped path of an object in the XML API.
func (s *Store) objectPath(name string) string { return "/" + s.bucket + "/" + escape(name) }

// escape escapes an object's name for one segment of a URL's path.
func escape(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s))
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}
