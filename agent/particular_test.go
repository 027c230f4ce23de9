package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/work"
)

// A particular store has the powers and limits that a test gives it: it keeps
// tags and classes, fits metadata, and refuses keys that contain "bad".
type particular struct {
	*memstore.Store
	has      storage.MetaTraits
	fit      func(storage.Meta) (storage.Meta, []storage.Misfit)
	untagged error // instead of tags

	mu       sync.Mutex
	tags     map[string]map[string]string
	asked    atomic.Int64 // for tags
	probes   atomic.Int64
	probe    error
	archived bool
}

func newParticular() *particular {
	return &particular{Store: memstore.New(), tags: map[string]map[string]string{},
		has: storage.MetaTraits{Headers: true, User: true, Tags: true, Class: true, ModTime: true}}
}

func (p *particular) Traits() storage.Traits {
	t := p.Store.Traits()
	t.Meta = p.has
	return t
}

func (p *particular) Fit(m storage.Meta) (storage.Meta, []storage.Misfit) {
	if p.fit == nil {
		return m, nil
	}
	return p.fit(m)
}

func (p *particular) Keeps(_ context.Context, key string) error {
	switch {
	case strings.Contains(key, "bad"):
		return p.badKey(key)
	case strings.Contains(key, "unsure"):
		return errors.New("injected: no answer")
	}
	return nil
}

func (p *particular) badKey(key string) error {
	return &storage.Error{Op: "put", Store: "test://dst/", Key: key, Fault: work.Unsupported, Field: work.FieldKeys, Err: errors.New("injected: no such key can be")}
}

func (p *particular) Probe(_ context.Context, write bool) ([]work.Fact, error) {
	p.probes.Add(1)
	return []work.Fact{{Name: "write", Text: fmt.Sprint(write)}}, p.probe
}

func (p *particular) Tags(_ context.Context, key string) (map[string]string, error) {
	p.asked.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tags[key], p.untagged
}

func (p *particular) info(in storage.Info, err error) (storage.Info, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	in.TagCount, in.Archived = len(p.tags[in.Key]), p.archived
	return in, err
}

func (p *particular) Stat(ctx context.Context, key string) (storage.Info, error) {
	return p.info(p.Store.Stat(ctx, key))
}

func (p *particular) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	body, in, err := p.Store.Get(ctx, key, etag, off, n)
	in, err = p.info(in, err)
	return body, in, err
}

func (p *particular) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	return p.Store.List(ctx, r, func(page []storage.Info) error {
		for i := range page {
			page[i].Archived = strings.Contains(page[i].Key, "cold")
		}
		return fn(page)
	})
}

func (p *particular) keep(key string, m storage.Meta) error {
	if strings.Contains(key, "bad") {
		return p.badKey(key)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tags[key] = maps.Clone(m.Tags)
	return nil
}

func (p *particular) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	if err := p.keep(key, opts.Meta); err != nil {
		return storage.Info{}, err
	}
	return p.info(p.Store.Put(ctx, key, body, size, opts))
}

func (p *particular) Commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	if err := p.keep(u.Key, opts.Meta); err != nil {
		return storage.Info{}, err
	}
	return p.info(p.Store.Commit(ctx, u, parts, opts))
}

// CopyFrom copies tags from stores of this kind, as a server would.
func (p *particular) CopyFrom(ctx context.Context, key string, src storage.Store, in storage.Info, opts storage.PutOptions) (storage.Info, error) {
	from, ok := src.(*particular)
	if !ok {
		return p.Store.CopyFrom(ctx, key, src, in, opts)
	}
	from.mu.Lock()
	opts.Meta.Tags = from.tags[in.Key]
	from.mu.Unlock()
	if err := p.keep(key, opts.Meta); err != nil {
		return storage.Info{}, err
	}
	return p.info(p.Store.CopyFrom(ctx, key, from.Store, in, opts))
}
