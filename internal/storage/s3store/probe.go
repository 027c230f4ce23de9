package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Probe finds out what the server can do, once per store: of a source by one
// short list request, of a target also by objects with made-up names, which
// are removed again. Amazon's server is not asked what is known of it.
func (s *Store) Probe(ctx context.Context, write bool) ([]work.Fact, error) {
	s.probing.Lock()
	defer s.probing.Unlock()
	if facts, ok := s.facts[write]; ok {
		return facts, nil
	}
	facts, err := s.findOut(ctx, write)
	if err != nil {
		return nil, s.fail("probe", "", err)
	}
	if s.facts == nil {
		s.facts = make(map[bool][]work.Fact, 2)
	}
	s.facts[write] = facts
	return facts, nil
}

func (s *Store) findOut(ctx context.Context, write bool) ([]work.Fact, error) {
	server, err := s.greet(ctx, write)
	if err != nil {
		return nil, err
	}
	facts := []work.Fact{{Name: "service", Text: s.service(server)}}
	add := func(name, format string, args ...any) {
		facts = append(facts, work.Fact{Name: name, Text: fmt.Sprintf(format, args...)})
	}
	if write {
		sums, err := s.checks(ctx)
		if err != nil {
			return nil, err
		}
		add("checksums", "%s", sums)
		l := s.Limits()
		add("parts", "%s to %s each but the last, at most %d; objects up to %s",
			inWords(l.MinPart), inWords(l.MaxPart), l.MaxParts, inWords(l.MaxObject))
		condition, version, err := s.tryCondition(ctx)
		if err != nil {
			return nil, err
		}
		add(storage.ConditionsFact, "%s", condition)
		if version {
			add("versions", "the bucket keeps the old version of an object that is overwritten or deleted")
		}
		if e := s.encrypt; e.key != "" {
			add("encryption", "%s with key %s", e.sort, e.key)
		} else if e.sort != "" {
			add("encryption", "%s", e.sort)
		}
	} else {
		add("checksums", "those that the server vouches for are asked for with every object; of one that was stored "+
			"in a single request and without a key of KMS the ETag is the MD5")
	}
	add("keys", "%s", s.aboutKeys())
	return facts, nil
}

// greet asks for a listing of one key at most, which fails as every request
// would, and returns the name that the server gives itself. A target need not
// allow that it is listed.
func (s *Store) greet(ctx context.Context, write bool) (server string, err error) {
	resp, err := s.do(ctx, &request{
		method: http.MethodGet,
		query:  "list-type=2&encoding-type=url&max-keys=1&prefix=" + escapeQuery(s.prefix),
	})
	var api *apiError
	if write && errors.As(err, &api) && api.Code == "AccessDenied" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if _, err := readPage(resp); err != nil {
		return "", err
	}
	return resp.Header.Get("Server"), nil
}

func (s *Store) service(server string) string {
	if s.client.amazon {
		return "Amazon S3 in " + s.place.region
	}
	text := s.place.scheme + "://" + s.place.host
	if server != "" {
		text += ", which calls itself " + server[:min(len(server), 100)]
	}
	return text
}

// checks says how what is stored is proved.
func (s *Store) checks(ctx context.Context) (string, error) {
	const known = "what the source vouches for goes before the body, and the server refuses other bytes"
	if s.client.amazon {
		return known + "; every part has its CRC32C behind it, and the whole that of its parts", nil
	}
	knows, err := s.trailers(ctx)
	switch {
	case err != nil:
		return "", err
	case knows:
		return known + "; where it vouches for nothing, a CRC32C goes behind the body, which the server was seen to check; so does that of every part", nil
	}
	return known + "; the server was seen not to check a CRC32C behind a body, so where the source vouches for nothing " +
		"only the ETag tells what was stored", nil
}

func (s *Store) aboutKeys() string {
	text := fmt.Sprintf("UTF-8, up to %d bytes with the prefix", maxKey)
	if s.client.amazon {
		return text
	}
	var sorts []string
	for _, k := range kinds {
		sorts = append(sorts, k.what)
	}
	return text + "; before the first key with any of these is stored, the server is tried: " + strings.Join(sorts, ", ")
}

// tryCondition stores a made-up object twice, the second time only if there is
// none. It also returns whether the server gave it a version.
func (s *Store) tryCondition(ctx context.Context) (words string, version bool, err error) {
	const kept = storage.ConditionsKept + " when an object is stored"
	if s.client.amazon {
		return kept, false, nil
	}
	key := s.prefix + probeName()
	store := func(h http.Header) (http.Header, error) {
		answer, _, err := s.roundTrip(ctx, &request{method: http.MethodPut, key: key, header: h, body: http.NoBody})
		return answer, err
	}
	answer, err := store(nil)
	if err != nil {
		return "", false, err
	}
	ids := []string{answer.Get(versionID)}
	answer, err = store(http.Header{"If-None-Match": {"*"}})
	if err == nil {
		ids = append(ids, answer.Get(versionID))
	}
	s.remove(ctx, key, ids)
	version = ids[0] != "" && ids[0] != "null"
	switch f := faultOf(err); f {
	case work.SrcChanged:
		return kept + ", as the server has shown", version, nil
	case "":
		return "the server ignores If-None-Match when an object is stored", version, nil
	case work.Unsupported, work.Invalid:
		s.unconditional.put.absent.Store(true)
		return "the server refuses If-None-Match when an object is stored", version, nil
	default:
		return "", false, err
	}
}

const versionID = "X-Amz-Version-Id"

// remove takes a made-up object away, with its versions if it has any. Its
// name is nobody else's: what cannot be removed is an empty object too many.
func (s *Store) remove(ctx context.Context, key string, versions []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidying)
	defer cancel()
	for _, v := range versions {
		r := &request{method: http.MethodDelete, key: key}
		if v != "" {
			r.query = "versionId=" + escapeQuery(v)
		}
		if _, _, err := s.roundTrip(ctx, r); err != nil && v != "" {
			_, _, _ = s.roundTrip(ctx, &request{method: http.MethodDelete, key: key})
		}
	}
}

func inWords(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}} {
		if n >= u.size {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(u.size)), ".0") + " " + u.name
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
