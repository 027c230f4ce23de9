package storagetest

import (
	"context"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Tags implements storage.Tagger.
func (f *faulty) Tags(ctx context.Context, key string) (map[string]string, error) {
	if _, err := f.look(ctx, Call{Op: "tags", Key: key}); err != nil {
		return nil, err
	}
	if t, ok := f.inner.(storage.Tagger); ok {
		return t.Tags(ctx, key)
	}
	return nil, nil
}

// Keeps implements storage.Keeper.
func (f *faulty) Keeps(ctx context.Context, key string) error {
	if _, err := f.look(ctx, Call{Op: "keeps", Key: key}); err != nil {
		return err
	}
	if k, ok := f.inner.(storage.Keeper); ok {
		return k.Keeps(ctx, key)
	}
	return nil
}

// Fit implements storage.Fitter.
func (f *faulty) Fit(m storage.Meta) (storage.Meta, []storage.Misfit) {
	if t, ok := f.inner.(storage.Fitter); ok {
		return t.Fit(m)
	}
	return m, nil
}

// Probe implements storage.Prober.
func (f *faulty) Probe(ctx context.Context, write bool) ([]work.Fact, error) {
	if _, err := f.look(ctx, Call{Op: "probe"}); err != nil {
		return nil, err
	}
	if p, ok := f.inner.(storage.Prober); ok {
		return p.Probe(ctx, write)
	}
	return nil, nil
}
