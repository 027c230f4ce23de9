package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Types of messages of the live stream. Readers must pass over others.
const (
	TypeEvent  = "event"  // a line of the audit log
	TypeJob    = "job"    // a job has come on
	TypeAgents = "agents" // the fleet has changed
)

// StreamQuiet is how long a live stream may be silent: the server says
// something more often, and a client that hears nothing connects again.
const StreamQuiet = 45 * time.Second

// A Message is one message of the live stream; the field of its type is set.
type Message struct {
	Type   string
	Event  *work.Event
	Job    *Job
	Agents []work.AgentRow
}

// A StreamQuery selects what a live stream says.
type StreamQuery struct {
	Job   work.JobID // zero: all open jobs and the fleet
	After int64      // id of the last event known; zero: begin with what happens next
}

// Events follows what happens. It first tells how things stand, then every
// change, and never ends by itself: when the stream breaks it yields an error,
// waits if the loop goes on, and connects again after the last event it saw. It
// ends when ctx does, when the loop breaks, or after yielding an error that
// will not pass, such as a job that does not exist.
func (c *Client) Events(ctx context.Context, q StreamQuery) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		at := place{job: q.Job, after: q.After, known: q.After > 0}
		for try := 1; ; try++ {
			err := c.follow(ctx, &at, func(m Message) bool {
				try = 1
				return yield(m, nil)
			})
			if errors.Is(err, errEnough) || ctx.Err() != nil {
				return
			}
			wait, again := passing(err, try)
			if !yield(Message{}, fmt.Errorf("follow the events: %w", err)) || !again || sleep(ctx, wait) != nil {
				return
			}
		}
	}
}

// errEnough means that the reader of a stream wants no more.
var errEnough = errors.New("enough")

// A place is how far a stream was read.
type place struct {
	job   work.JobID
	after int64
	known bool // after means something: the server says so as each stream begins
}

// follow reads one connection until it breaks, and moves the place on.
func (c *Client) follow(ctx context.Context, at *place, yield func(Message) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(StreamQuiet, func() { cancel(fmt.Errorf("nothing heard for %s", StreamQuiet)) })
	defer quiet.Stop()

	v := url.Values{}
	if at.job != 0 {
		v.Set("job", at.job.String())
	}
	if at.known {
		v.Set("after", strconv.FormatInt(at.after, 10))
	}
	resp, err := c.send(ctx, call{method: http.MethodGet, path: "/v1/events", query: v}, nil)
	if err != nil {
		return c.broken(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what is missing of an error's text is no loss
		return problemOf(resp, b)
	}
	if mt, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); mt != "text/event-stream" {
		return fmt.Errorf("%s answered %q, which is no event stream", c.base, mt)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 4<<20)
	var f frame
	for lines.Scan() {
		quiet.Reset(StreamQuiet)
		if !f.line(lines.Text()) {
			continue
		}
		m, known, err := f.message()
		if err != nil {
			return err
		}
		if f.placed {
			at.after, at.known = f.id, true
		}
		f = frame{}
		if known && !yield(m) {
			return errEnough
		}
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return c.broken(ctx, err)
}

// broken says why a connection ended.
func (c *Client) broken(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if errors.Is(err, ErrUnreachable) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, c.base, err)
}

// A frame is a message of an event stream while it is read.
type frame struct {
	id     int64
	placed bool // it has an id
	kind   string
	data   bytes.Buffer
}

// line takes a line and reports whether the message is whole.
func (f *frame) line(s string) bool {
	if s == "" {
		return true
	}
	name, value, _ := strings.Cut(s, ":")
	value = strings.TrimPrefix(value, " ")
	switch name {
	case "id":
		id, err := strconv.ParseInt(value, 10, 64)
		f.id, f.placed = id, err == nil // what is no number is not ours
	case "event":
		f.kind = value
	case "data":
		f.data.WriteString(value)
		f.data.WriteByte('\n')
	}
	return false
}

// message decodes the frame and reports whether its type is known.
func (f *frame) message() (m Message, known bool, err error) {
	m.Type = f.kind
	switch f.kind {
	case TypeEvent:
		err = json.Unmarshal(f.data.Bytes(), &m.Event)
	case TypeJob:
		err = json.Unmarshal(f.data.Bytes(), &m.Job)
	case TypeAgents:
		var l AgentList
		err = json.Unmarshal(f.data.Bytes(), &l)
		m.Agents = l.Agents
	default:
		return Message{}, false, nil
	}
	if err != nil {
		return Message{}, false, fmt.Errorf("read a message of type %s: %w", f.kind, err)
	}
	return m, true, nil
}
