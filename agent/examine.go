package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Examine finds out whether a store can be used as the source of a job or, if
// c.Write is set, as its target: whether it answers, and may be listed, read,
// written and cleared. Of what it writes it removes everything again. What does
// not work is a failing check, and what follows from it is left out.
func Examine(ctx context.Context, opener Opener, c work.StoreCheck) []work.Check {
	e := &examination{url: c.Store}
	store, err := opener.Open(ctx, c.Store)
	if err != nil {
		e.failed("open", err)
		return e.found
	}
	defer store.Close()
	e.store = store
	first, ok := e.list(ctx, c.Write)
	if !ok {
		return e.found
	}
	if !c.Write {
		e.read(ctx, first)
	}
	if e.powers(ctx, c.Write) && c.Write {
		e.write(ctx)
	}
	return e.found
}

// An examination is a store and what is said of it.
type examination struct {
	url   string
	store storage.Store
	found []work.Check
}

func (e *examination) add(what string, s work.CheckState, found, advice string) {
	e.found = append(e.found, work.Check{Part: e.url, What: what, State: s, Found: found, Advice: advice})
}

func (e *examination) ok(what, format string, args ...any) {
	e.add(what, work.CheckOK, fmt.Sprintf(format, args...), "")
}

// failed adds what went wrong, with what the store advises or what its fault
// suggests.
func (e *examination) failed(what string, err error) {
	advice := map[work.Fault]string{
		work.Denied:      "give these credentials the right to " + what + ": deploy/STORES.md lists what is needed",
		work.NotFound:    "check the name of the bucket or folder, and make it if it is not there",
		work.Transient:   "check the address and the network between the agent and the store",
		work.Throttled:   "the store asks to slow down: try again later",
		work.Unsupported: "deploy/STORES.md says what this kind of store can do",
		work.Invalid:     "deploy/STORES.md says how its URL is written",
	}[storage.FaultOf(err)]
	text := textOf(err)
	var s *storage.Error
	if errors.As(err, &s) && s.Hint != "" {
		advice = s.Hint
		plain := *s
		plain.Hint = ""
		text = textOf(&plain)
	}
	e.add(what, work.CheckFailing, text, advice)
}

var errSeen = errors.New("seen enough")

// list looks at the first page and returns its first object that can be read.
// A folder that is to be written may not be there yet.
func (e *examination) list(ctx context.Context, write bool) (first storage.Info, ok bool) {
	n := 0
	err := e.store.List(ctx, work.Range{}, func(infos []storage.Info) error {
		n = len(infos)
		for _, in := range infos {
			if !in.Archived {
				first = in
				break
			}
		}
		return errSeen
	})
	switch {
	case err == nil:
		e.ok("list", "nothing in it")
	case errors.Is(err, errSeen):
		e.ok("list", "%d objects on its first page", n)
	case write && storage.Is(err, work.NotFound):
		e.ok("list", "not there yet")
	default:
		e.failed("list", err)
		return first, false
	}
	return first, true
}

// read reads the beginning of an object.
func (e *examination) read(ctx context.Context, in storage.Info) {
	if in.Key == "" {
		e.add("read", work.CheckUnknown, "no object to read", "")
		return
	}
	n := min(in.Size, 1)
	body, _, err := e.store.Get(ctx, in.Key, in.ETag, 0, n)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
		err = errors.Join(err, body.Close())
	}
	if err != nil {
		e.failed("read", err)
		return
	}
	e.ok("read", "%d of %d bytes of %s", n, in.Size, work.Quote(in.Key))
}

// powers says what the server can do.
func (e *examination) powers(ctx context.Context, write bool) bool {
	p, ok := e.store.(storage.Prober)
	if !ok {
		return true
	}
	facts, err := p.Probe(ctx, write)
	if err != nil {
		e.failed("probe", err)
		return false
	}
	for _, f := range facts {
		e.ok(f.Name, "%s", f.Text)
	}
	return true
}

// write stores an object, reads it back and removes it.
func (e *examination) write(ctx context.Context) {
	key := ".tranship-examined-" + strings.ToLower(rand.Text())
	content := []byte("written by tranship doctor; it may be removed\n")
	put, err := e.store.Put(ctx, key, bytes.NewReader(content), int64(len(content)), storage.PutOptions{})
	if err != nil {
		e.failed("write", err)
		if storage.Is(err, work.Transient) || storage.Is(err, work.Throttled) { // it may be there all the same
			e.remove(ctx, key)
		}
		return
	}
	e.ok("write", "%d bytes as %s", put.Size, key)
	defer e.remove(ctx, key)
	body, _, err := e.store.Get(ctx, key, put.ETag, 0, -1)
	if err != nil {
		e.failed("read back", err)
		return
	}
	got, err := io.ReadAll(io.LimitReader(body, int64(len(content))+1))
	err = errors.Join(err, body.Close())
	switch {
	case err != nil:
		e.failed("read back", err)
	case !bytes.Equal(got, content):
		e.add("read back", work.CheckFailing, "it holds other bytes than were written", "do not trust this store: find out what stands between it and the agent")
	default:
		e.ok("read back", "the same bytes")
	}
}

// remove also works when the examination's time is over.
func (e *examination) remove(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err := e.store.Delete(ctx, key); err != nil {
		e.failed("delete", err)
		return
	}
	e.ok("delete", "%s is gone", key)
}
