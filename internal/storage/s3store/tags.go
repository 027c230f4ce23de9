package s3store

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Tags asks for the tags of an object. A server that knows no tags has none.
func (s *Store) Tags(ctx context.Context, key string) (map[string]string, error) {
	tags, err := s.tags(ctx, key)
	return tags, s.fail("read the tags of", key, err)
}

func (s *Store) tags(ctx context.Context, key string) (map[string]string, error) {
	if err := s.exists(ctx, key); err != nil {
		return nil, err
	}
	_, body, err := s.roundTrip(ctx, &request{method: http.MethodGet, key: s.prefix + key, query: "tagging="})
	var api *apiError
	if errors.As(err, &api) && (api.Code == "NoSuchTagSet" || api.Code == "MethodNotAllowed" || api.fault() == work.Unsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var answer struct {
		Tags []struct {
			Key   string `xml:"Key"`
			Value string `xml:"Value"`
		} `xml:"TagSet>Tag"`
	}
	if err := decode(body, &answer); err != nil || len(answer.Tags) == 0 {
		return nil, err
	}
	tags := make(map[string]string, len(answer.Tags))
	for _, t := range answer.Tags {
		tags[t.Key] = t.Value
	}
	return tags, nil
}

// encodeTags writes tags as a header has them, in the form of a query.
func encodeTags(tags map[string]string) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(tags)) {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(escapeQuery(name) + "=" + escapeQuery(tags[name]))
	}
	return b.String()
}

// refused takes note of what a server refused of the metadata that a request
// carried, so that Fit leaves it out from now on, and says what it was.
func (s *Store) refused(err error, m storage.Meta, h http.Header) error {
	var api *apiError
	if !errors.As(blame(err, h), &api) {
		return err
	}
	switch {
	case api.field() == work.FieldClass && m.Class != "":
		s.refusedClasses.Store(m.Class, true)
	case api.Code == "InvalidTag":
		for name, value := range m.Tags {
			if !isASCII(name + value) {
				s.plainTags.Store(true)
			}
		}
	}
	return err
}
