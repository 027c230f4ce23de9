package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// ErrUnreachable means that no answer came: the server is down, the address
// is wrong, or the network is.
var ErrUnreachable = errors.New("server unreachable")

const (
	callTimeout = 30 * time.Second // of one try
	tries       = 4                // of a request that may be repeated
	firstWait   = 250 * time.Millisecond
	longestWait = 10 * time.Second // also where the server asks for more
	maxAnswer   = 64 << 20         // bytes of an answer's body
)

// outcomeOpen asks for objects without a final outcome.
const outcomeOpen = "open"

func jobPath(id work.JobID, rest string) string {
	if rest != "" {
		rest = "/" + rest
	}
	return "/v1/jobs/" + id.String() + rest
}

func (c *Client) get(ctx context.Context, doing, path string, q url.Values, out any) error {
	_, err := c.do(ctx, call{doing: doing, method: http.MethodGet, path: path, query: q, repeat: true}, out)
	return err
}

// A call is one request to make.
type call struct {
	doing  string // for errors, such as "list the jobs"
	method string
	path   string
	query  url.Values
	body   any
	key    string // idempotency key
	also   int    // a status that is an answer like 2xx
	repeat bool   // doing it twice does no harm
}

// do makes the call, again if that may help and does no harm, and decodes the
// answer into out.
func (c *Client) do(ctx context.Context, cl call, out any) (http.Header, error) {
	var body []byte
	if cl.body != nil {
		var err error
		if body, err = json.Marshal(cl.body); err != nil {
			return nil, fmt.Errorf("%s: %w", cl.doing, err)
		}
	}
	for try := 1; ; try++ {
		h, err := c.once(ctx, cl, body, out)
		if err == nil {
			return h, nil
		}
		wait, again := passing(err, try)
		if !again || !cl.repeat || try == tries || sleep(ctx, wait) != nil {
			return nil, fmt.Errorf("%s: %w", cl.doing, err)
		}
	}
}

// once makes one try.
func (c *Client) once(ctx context.Context, cl call, body []byte, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.send(ctx, cl, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode/100 != 2 && resp.StatusCode != cl.also {
		return nil, problemOf(resp, b)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return nil, fmt.Errorf("%s answered %s, which is not what Tranship says: %w", c.base, resp.Status, err)
	}
	return resp.Header, nil
}

// send makes the request; the caller closes the answer's body.
func (c *Client) send(ctx context.Context, cl call, body []byte) (*http.Response, error) {
	u := c.base + cl.path
	if len(cl.query) > 0 {
		u += "?" + cl.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, cl.method, u, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	set := func(name, value string) {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	set(HeaderWho, c.Who)
	set(HeaderIdempotencyKey, cl.key)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	return resp, nil
}

// unreachable says that no answer came, unless it was the caller who gave up.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // the method and the URL are said already
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, c.base, err)
}

// passing reports whether a failure may pass by itself, and how long to wait.
func passing(err error, try int) (time.Duration, bool) {
	wait := min(firstWait<<(try-1), longestWait)
	var p *Problem
	if errors.As(err, &p) {
		switch p.Status {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return min(max(wait, p.RetryAfter), longestWait), true
		}
		return 0, false
	}
	return wait, errors.Is(err, ErrUnreachable)
}

// sleep waits, or returns early with the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// problemOf reads an error's answer, also one that is not ours, as of a proxy.
func problemOf(resp *http.Response, body []byte) *Problem {
	p := &Problem{}
	if err := json.Unmarshal(body, p); err != nil || p.Code == "" {
		p = &Problem{Title: http.StatusText(resp.StatusCode), Detail: fmt.Sprintf("the server answered %s: %.200q", resp.Status, body)}
	}
	p.Status = resp.StatusCode
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		p.RetryAfter = time.Duration(s) * time.Second
	}
	return p
}
