package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// The ways in which a byzantine store lies.
const (
	flipped    = "flipped"    // a bit of what was read is wrong
	truncated  = "truncated"  // what was read ends early as if it were whole
	prolonged  = "prolonged"  // what was read goes on behind its end
	stale      = "stale"      // other content, under the right ETag, length and checksums
	garbled    = "garbled"    // a bit of what was written is wrong
	lost       = "lost"       // done, and yet reported as failed
	falseSum   = "false sum"  // a false checksum and ETag in the answer
	falseETag  = "false ETag" // a false ETag alone
	swapped    = "swapped"    // two parts stored under each other's number
	duplicated = "duplicated" // a part stored twice, in place of its neighbour
	unfinished = "not stored" // reported as stored, and what stood there before stands there still
	readKinds  = "flipped truncated prolonged stale"
)

// A byzantine store lies at random, but the same lies each time it is asked the
// same.
type byzantine struct {
	*memstore.Store
	seed    uint64
	rate    float64 // of the requests that can be lied about
	perjury bool    // answers to wrong writes say what was sent, not what was stored

	mu     sync.Mutex
	calls  map[string]int
	struck map[string]int
	parts  map[string][]byte // by upload and number
}

func newByzantine(seed uint64, rate float64) *byzantine {
	return &byzantine{Store: memstore.New(), seed: seed, rate: rate,
		calls: map[string]int{}, struck: map[string]int{}, parts: map[string][]byte{}}
}

// lie chooses what is wrong with a request.
func (b *byzantine) lie(op, key string, kinds ...string) (string, *rand.Rand) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := fnv.New64a()
	io.WriteString(h, op+"\x00"+key)
	b.calls[op+key]++
	r := rand.New(rand.NewPCG(b.seed+uint64(b.calls[op+key]), h.Sum64()))
	rate := b.rate
	if op == "part" || op == "range" {
		rate /= 6 // or hardly any object would come to its commit
	}
	if r.Float64() >= rate {
		return "", r
	}
	kind := kinds[r.IntN(len(kinds))]
	b.struck[kind]++
	return kind, r
}

func (b *byzantine) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	body, in, err := b.Store.Get(ctx, key, etag, off, n)
	if err != nil {
		return nil, in, err
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, in, err
	}
	kinds := strings.Fields(readKinds)
	if len(data) == 0 {
		kinds = []string{prolonged}
	}
	op := "get"
	if n >= 0 {
		op = "range"
	}
	switch kind, r := b.lie(op, fmt.Sprint(key, off), kinds...); kind {
	case flipped:
		data[r.IntN(len(data))] ^= 1 << r.IntN(8)
	case truncated:
		data = data[:r.IntN(len(data))]
	case prolonged:
		data = append(data, byte(r.Uint32()))
	case stale:
		old := storagetest.Bytes(1_000_000+r.IntN(1000), len(data))
		old[0] = data[0] ^ 1 // an object of one byte must differ too
		data = old
	}
	return io.NopCloser(bytes.NewReader(data)), in, nil
}

// sumsOf returns what a memory store vouches for.
func sumsOf(data []byte) storage.Sums {
	d := storage.NewDigest(storage.MD5 | storage.CRC32C)
	d.Write(data)
	return d.Sums()
}

// answer is what a store says that did something, perhaps a lie.
func (b *byzantine) answer(kind, key string, in storage.Info, sent []byte) (storage.Info, error) {
	wrong := sumsOf(append([]byte("wrong"), sent...))
	switch kind {
	case lost:
		return storage.Info{}, &storage.Error{Op: "put", Store: "byzantine", Key: key, Fault: work.Transient, Err: errors.New("injected: no answer")}
	case falseSum:
		in.Sums, in.ETag = wrong, fmt.Sprintf("%x", wrong.MD5)
	case falseETag:
		in.ETag = fmt.Sprintf("%x", wrong.MD5)
	case garbled, swapped, duplicated:
		if b.perjury {
			in.Sums = sumsOf(sent)
		}
	}
	return in, nil
}

func (b *byzantine) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	data, err := io.ReadAll(body)
	if err != nil || int64(len(data)) != size {
		return storage.Info{}, errors.Join(err, fmt.Errorf("%d bytes of %d", len(data), size))
	}
	kinds := []string{lost, falseSum, falseETag}
	if size > 0 {
		kinds = append(kinds, garbled)
	}
	if there, err := b.Store.Stat(ctx, key); err == nil && there.Size == size {
		kinds = append(kinds, unfinished)
	}
	kind, r := b.lie("put", key, kinds...)
	stored := data
	switch kind {
	case garbled:
		stored = slices.Clone(data)
		stored[r.IntN(len(data))] ^= 1 << r.IntN(8)
	case unfinished:
		in, err := b.Store.Stat(ctx, key)
		if b.perjury {
			in.Sums = sumsOf(data)
		}
		return in, err
	}
	in, err := b.Store.Put(ctx, key, bytes.NewReader(stored), size, storage.PutOptions{Meta: opts.Meta})
	if err != nil {
		return in, err
	}
	return b.answer(kind, key, in, data)
}

func partKey(u storage.Upload, n int) string { return fmt.Sprintf("%s/%d", u.ID, n) }

func (b *byzantine) PutPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, sums storage.Sums) (storage.Part, error) {
	data, err := io.ReadAll(body)
	if err != nil || int64(len(data)) != size {
		return storage.Part{}, errors.Join(err, fmt.Errorf("%d bytes of %d", len(data), size))
	}
	kind, r := b.lie("part", fmt.Sprint(u.Key, n), lost, garbled)
	stored := slices.Clone(data)
	if kind == garbled {
		stored[r.IntN(len(stored))] ^= 1 << r.IntN(8)
	}
	p, err := b.Store.PutPart(ctx, u, n, bytes.NewReader(stored), size, storage.Sums{})
	if err == nil && kind == lost {
		return storage.Part{}, &storage.Error{Op: "put part", Store: "byzantine", Key: u.Key, Fault: work.Transient, Err: errors.New("injected: no answer")}
	}
	if kind == garbled && b.perjury {
		p.Sums = sumsOf(data)
	}
	b.mu.Lock()
	b.parts[partKey(u, n)] = data
	b.mu.Unlock()
	return p, err
}

func (b *byzantine) Commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	var sent []byte
	b.mu.Lock()
	for _, p := range parts {
		sent = append(sent, b.parts[partKey(u, p.N)]...)
	}
	first, second := b.parts[partKey(u, 1)], b.parts[partKey(u, 2)]
	b.mu.Unlock()
	kinds := []string{lost, falseSum, falseETag}
	if len(first) == len(second) {
		kinds = append(kinds, swapped, swapped, swapped, duplicated, duplicated, duplicated)
	}
	kind, _ := b.lie("commit", u.Key, kinds...)
	parts = slices.Clone(parts)
	replace := func(n int, data []byte) {
		p, err := b.Store.PutPart(ctx, u, n, bytes.NewReader(data), int64(len(data)), storage.Sums{})
		if err == nil {
			parts[n-1] = p
		}
	}
	switch kind {
	case swapped:
		replace(1, second)
		replace(2, first)
	case duplicated:
		replace(2, first)
	}
	in, err := b.Store.Commit(ctx, u, parts, storage.PutOptions{Meta: opts.Meta})
	if err != nil {
		return in, err
	}
	return b.answer(kind, u.Key, in, sent)
}

// honest shows what a byzantine store really has.
func (b *byzantine) honest() storage.Store { return b.Store }
