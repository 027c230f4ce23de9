package gcsstore

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Probe lists one object and, for a target, begins an upload in parts and
// stores an empty object, both of which it takes back.
func (s *Store) Probe(ctx context.Context, write bool) ([]work.Fact, error) {
	facts, err := s.probe(ctx, write)
	return facts, s.fail("probe", "", err)
}

func (s *Store) probe(ctx context.Context, write bool) ([]work.Fact, error) {
	if _, err := s.page(ctx, query{prefix: s.prefix, fields: ofObjects}); err != nil {
		return nil, err
	}
	service := "Google Cloud Storage at " + s.client.base
	if s.client.options.emulator != "" {
		service = "an emulator of Google Cloud Storage at " + s.client.base
	}
	if s.client.options.anonymous {
		service += ", without credentials"
	}
	facts := []work.Fact{
		{Name: "service", Text: service},
		{Name: "versions", Text: "generations; reads are pinned to one"},
		{Name: "checksums", Text: "CRC32C of every object, MD5 of those not put together from parts; both checked by the server"},
	}
	if !write {
		return facts, nil
	}
	with, err := s.hasXML(ctx)
	if err != nil {
		return nil, err
	}
	parts := "uploads of the XML API"
	if !with {
		parts = "temporary objects, put together 32 at a time; the server has no uploads of the XML API"
	}
	honoured, err := s.honours(ctx)
	if err != nil {
		return nil, err
	}
	conditional := storage.ConditionsKept + ", by generation"
	if !honoured {
		conditional = "not honoured by this server"
	}
	return append(facts, work.Fact{Name: "parts", Text: parts}, work.Fact{Name: storage.ConditionsFact, Text: conditional}), nil
}

// honours finds out whether the server refuses to write over an object that
// must not be there.
func (s *Store) honours(ctx context.Context) (bool, error) {
	name := s.probeName()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		_ = s.remove(ctx, name) // what cannot be removed is an empty object more
	}()
	if _, err := s.insert(ctx, name, http.NoBody, 0, storage.PutOptions{}); err != nil {
		return false, fmt.Errorf("store an empty object: %w", err)
	}
	_, err := s.insert(ctx, name, http.NoBody, 0, storage.PutOptions{If: storage.Condition{Absent: true}})
	if isClash(err) {
		return true, nil
	}
	return false, err
}
