package memstore

import (
	"context"
	"errors"
	"maps"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Tags implements storage.Tagger.
func (s *Store) Tags(ctx context.Context, key string) (map[string]string, error) {
	o, err := s.find(ctx, "get tags", key, "")
	if err != nil {
		return nil, err
	}
	if o.info.TagCount == 0 {
		return nil, nil
	}
	return maps.Clone(o.info.Meta.Tags), nil
}

// Keeps implements storage.Keeper: every key but the empty one.
func (s *Store) Keeps(_ context.Context, key string) error {
	if key == "" {
		return &storage.Error{Op: "check the key", Store: s.url, Fault: work.Unsupported, Field: work.FieldKeys,
			Err: errors.New("an object needs a key")}
	}
	return nil
}

// Probe implements storage.Prober.
func (s *Store) Probe(ctx context.Context, _ bool) ([]work.Fact, error) {
	if err := ctx.Err(); err != nil {
		return nil, s.fail("probe", "", work.Transient, err)
	}
	return []work.Fact{
		{Name: "objects", Text: "in the memory of the agent's process, and lost with it"},
		{Name: "checksums", Text: "MD5 and CRC32C of every object; what is put is checked against every sum"},
		{Name: storage.ConditionsFact, Text: storage.ConditionsKept},
	}, nil
}
