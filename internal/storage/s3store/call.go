package s3store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	attempts  = 3                // of one request, where it can be repeated
	knocks    = 2                // likewise, at a server that wants to be left alone
	stall     = time.Minute      // how long the network may keep a request waiting
	thinking  = 20 * time.Minute // how long a server may put an object together
	maxAnswer = 4 << 20          // bytes of an answer that is read as a whole
	tidying   = 20 * time.Second // what is cleared away after the caller has gone may take

	// patience is how long a server may ask to be left alone for its request to
	// be repeated here nevertheless. For longer, the engine takes over.
	patience = time.Second

	// askFrom is the size from which a body that cannot be sent twice is
	// announced first. A server that refuses a request may hang up while the
	// body is under way, and then its reason is lost.
	askFrom = 1 << 20
	// listen is how long the next attempt waits before the body, for servers
	// that want every body and refuse it nevertheless.
	listen = 100 * time.Millisecond
)

// payload hashes: of nothing, and of a body that is not hashed.
const (
	emptyPayload    = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	unsignedPayload = "UNSIGNED-PAYLOAD"
)

// A request is one operation on the bucket or on one of its objects.
type request struct {
	method string
	key    string // with the store's prefix; empty: the bucket itself
	query  string // escaped
	header http.Header
	body   io.Reader // of exactly size bytes; nil: none
	size   int64
	wait   time.Duration // for the server to answer, beyond the usual
	ask    bool          // whether the server wants the body, before it is sent
	hold   time.Duration // before the body is sent, for a refusal to arrive

	// check, if set, is asked after the connection broke: an error of it is what
	// the server would have said if it had been heard.
	check func(ctx context.Context) error

	rewind func() bool // of body, once do was asked; see rewinder

	payload string // what stands for the body's hash in the signature; empty: unsigned
}

// do sends r and returns the answer, whose body the caller must close. An
// answer that is not a success is an error, an *apiError if the server gave
// it. What failed for a passing reason is repeated a few times, if the body
// allows it; backing off for long is the engine's business.
func (s *Store) do(ctx context.Context, r *request) (*http.Response, error) {
	r.rewind = rewinder(r.body)
	_, again := r.body.(io.Seeker)
	r.ask = !again && r.size >= askFrom
	for attempt := 1; ; attempt++ {
		resp, err := s.send(ctx, r)
		if err == nil {
			return resp, nil
		}
		if r.check != nil && ctx.Err() == nil && broke(err) {
			if why := r.check(ctx); why != nil && !passing(why) {
				return nil, why
			}
		}
		if ctx.Err() != nil || !repeatable(err, attempt) || !r.rewind() {
			return nil, err
		}
		s.client.adjust(err)
		r.header = r.header.Clone() // the transport may not be done with the old one
		if r.size >= askFrom {
			r.ask, r.hold = true, listen
		}
		if !sleep(ctx, pause(attempt, err)) {
			return nil, err
		}
	}
}

// repeatable reports whether a request that has failed so often is worth
// another attempt at once. One that stalled has taken long enough; a server that
// wants to be left alone is, soon: the engine knows of all its requests.
func repeatable(err error, attempt int) bool {
	if faultOf(err) == work.Throttled && attempt >= knocks {
		return false
	}
	return attempt < attempts && passing(err) && !errors.Is(err, errStalled) && afterOf(err) <= patience
}

// broke reports whether a request failed before the server was heard.
func broke(err error) bool {
	var (
		api    *apiError
		source *sourceError
		creds  *credentialsError
		own    *refusal
	)
	return !errors.As(err, &api) && !errors.As(err, &source) && !errors.As(err, &creds) && !errors.As(err, &own)
}

// afterOf is how long the server asked to be left alone.
func afterOf(err error) time.Duration {
	var api *apiError
	if errors.As(err, &api) {
		return api.after
	}
	return 0
}

// rewinder returns a function that makes a body ready to be sent again, from
// where it stands now, or reports that it cannot.
func rewinder(body io.Reader) func() bool {
	if body == nil {
		return func() bool { return true }
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

// pause is how long to wait after a failed attempt: longer where the server
// asked for less, never the same for all.
func pause(attempt int, err error) time.Duration {
	d := 50 * time.Millisecond << attempt
	if faultOf(err) == work.Throttled {
		d *= 4
	}
	return max(d/2+rand.N(d), min(afterOf(err), patience))
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
	ctx, w := watch(ctx, s.client.stall)
	req, err := s.sign(ctx, r)
	if err != nil {
		w.stop()
		return nil, err
	}
	up := &upload{src: r.body, left: r.size, w: w, wait: r.wait, hold: r.hold}
	switch {
	case r.body == nil:
		req.Body = nil
	case r.size == 0:
		req.Body = http.NoBody
		if err := atEnd(r.body); err != nil {
			w.stop()
			return nil, &sourceError{err}
		}
	default:
		req.Body = up
	}
	w.begin(r.wait)
	resp, err := s.client.transport.RoundTrip(req)
	cause := up.finish()
	w.end()
	if cause != nil { // whatever the server says of it
		if err == nil {
			resp.Body.Close()
		}
		err = cause
	}
	if err != nil {
		w.stop()
		return nil, w.verdict(err)
	}
	body := &download{src: resp.Body, w: w, left: resp.ContentLength}
	if r.method == http.MethodHead {
		body.left = -1 // its length is that of the object
	}
	resp.Body = body
	if resp.StatusCode/100 == 2 {
		if up.left > 0 {
			body.Close()
			return nil, fmt.Errorf("%w: status %d before the body was there", errAnswer, resp.StatusCode)
		}
		return resp, nil
	}
	text, _ := io.ReadAll(io.LimitReader(body, 64<<10))
	body.Close()
	return nil, newAPIError(resp, text)
}

// sign builds the HTTP request of r.
func (s *Store) sign(ctx context.Context, r *request) (*http.Request, error) {
	delete(r.header, "Accept-Encoding")
	u := &url.URL{Scheme: s.place.scheme, Host: s.place.host, RawQuery: r.query}
	u.RawPath = s.place.path + "/" + escapePath(r.key)
	path, err := url.PathUnescape(u.RawPath)
	if err != nil {
		return nil, err
	}
	u.Path = path

	header, payload := r.header, emptyPayload
	if header == nil {
		header = make(http.Header, 8)
	}
	if r.body != nil {
		payload = cmp.Or(r.payload, unsignedPayload)
	}
	req := (&http.Request{
		Method: r.method, URL: u, Host: u.Host, Header: header, ContentLength: r.size,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)

	provider, err := s.client.provider(ctx)
	if err != nil {
		return nil, err
	}
	if provider != nil {
		creds, err := provider.Retrieve(ctx)
		if err != nil {
			return nil, &credentialsError{err}
		}
		s.client.session.Store(creds.SessionToken != "")
		header["X-Amz-Content-Sha256"] = []string{payload}
		now := time.Now().Add(time.Duration(s.client.skew.Load()))
		if err := s.client.signer.SignHTTP(ctx, creds, req, payload, s.place.service, s.place.region, now); err != nil {
			return nil, err
		}
	}
	// Set after signing: proxies are known to rewrite them.
	req.Header["Accept-Encoding"] = []string{"identity"}
	req.Header["User-Agent"] = []string{"tranship"}
	if r.ask {
		req.Header["Expect"] = []string{"100-continue"}
	}
	return req, nil
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
	if e := lateError(resp, body); e != nil {
		return nil, nil, e
	}
	return resp.Header, body, nil
}

// lateError returns the refusal that a body is although its answer was a
// success, nil if it is none: a server may find that it failed after it has
// sent status 200.
func lateError(resp *http.Response, body []byte) error {
	if !bytes.Contains(body, []byte("<Error>")) {
		return nil
	}
	var e apiError
	if xml.Unmarshal(body, &e) != nil || e.XMLName.Local != "Error" {
		return nil
	}
	e.heard(resp)
	return &e
}

// decode reads an XML answer.
func decode(body []byte, into any) error {
	if err := xml.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%w: %w", errAnswer, err)
	}
	return nil
}

// errAnswer means that what came back is not what the protocol says.
var errAnswer = errors.New("the server's answer is not what S3 says it must be")

const hexDigits = "0123456789ABCDEF"

// escapePath escapes a key for a URL's path as signatures want it.
func escapePath(key string) string { return escape(key, true) }

// escapeQuery escapes a value of a URL's query as signatures want it.
func escapeQuery(value string) string { return escape(value, false) }

func escape(s string, slash bool) string {
	n := 0
	for i := range len(s) {
		if !plain(s[i], slash) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if c := s[i]; plain(c, slash) {
			b = append(b, c)
		} else {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

func plain(c byte, slash bool) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case c == '-', c == '_', c == '.', c == '~':
		return true
	}
	return slash && c == '/'
}
