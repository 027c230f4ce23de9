package storagetest

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"

	"github.com/tranship/tranship/internal/storage"
)

// answers are the lies that can strike whatever tells of an object.
var answers = []Kind{Lied, Mistagged}

// told returns what the caller is told of an object.
func told(k Kind, in storage.Info) storage.Info {
	switch k {
	case Lied:
		in.ETag, in.Sums = falseTag(in.ETag), falseSums(in.Sums)
	case Mistagged:
		in.ETag = falseTag(in.ETag)
	}
	return in
}

// falseTag returns another tag of the same form.
func falseTag(tag string) string {
	if tag == "" {
		return ""
	}
	last := byte('0')
	if tag[len(tag)-1] == last {
		last = '1'
	}
	return tag[:len(tag)-1] + string(last)
}

// falseSums returns other sums of the same algorithms.
func falseSums(s storage.Sums) storage.Sums {
	s = s.Clone()
	for _, sum := range [][]byte{s.MD5, s.SHA256, s.CRC32, s.CRC32C, s.CRC64NVME} {
		if len(sum) > 0 {
			sum[0] ^= 1
		}
	}
	return s
}

// writes are the lies that can strike a Put.
func (f *faulty) writes(ctx context.Context, key string, size int64) []Kind {
	fits := slices.Clone(answers)
	if size > 0 {
		fits = append(fits, Perjured)
	}
	if f.Script == nil && f.Rates[Kept] == 0 {
		return fits // no need to ask
	}
	if _, err := f.inner.Stat(ctx, key); err == nil {
		fits = append(fits, Kept)
	}
	return fits
}

// damages are the ways in which an upload can be put together wrongly.
func damages(u storage.Upload) (fits []Kind) {
	if u.Size > 0 {
		fits = append(fits, Perjured)
	}
	if u.Part < 1 {
		return fits
	}
	if u.Size/u.Part >= 2 { // two parts of the same size
		fits = append(fits, Swapped, Doubled)
	}
	if u.Size > 2*u.Part { // one in the middle
		fits = append(fits, Truncated)
	}
	return fits
}

// damage puts a wrong object in the place of one that was just stored, and says
// what the caller is told. right is the answer that the store gave.
func (f *faulty) damage(ctx context.Context, c Call, k Kind, u storage.Upload, right storage.Info) (storage.Info, error) {
	body, in, err := f.inner.Get(ctx, u.Key, "", 0, -1)
	if err != nil {
		return storage.Info{}, err
	}
	defer body.Close()
	whole, err := io.ReadAll(body)
	if err != nil {
		return storage.Info{}, err
	}
	if t, ok := f.inner.(storage.Tagger); ok && in.TagCount > 0 {
		if in.Meta.Tags, err = t.Tags(ctx, u.Key); err != nil {
			return storage.Info{}, err
		}
	}
	parts := [][]byte{whole}
	if u.Part > 0 {
		parts = slices.Collect(slices.Chunk(whole, int(u.Part)))
	}
	switch rng := f.rng(c); k {
	case Swapped:
		i := rng.IntN(int(u.Size/u.Part) - 1)
		parts[i], parts[i+1] = parts[i+1], parts[i]
	case Doubled:
		i := rng.IntN(int(u.Size/u.Part) - 1)
		parts[i+1] = parts[i]
	case Truncated:
		i := 1 + rng.IntN(len(parts)-2)
		parts = slices.Delete(parts, i, i+1)
	case Perjured:
		whole[rng.IntN(len(whole))] ^= 1 << rng.IntN(8)
	}
	wrong := bytes.Join(parts, nil)
	out, err := f.inner.Put(ctx, u.Key, bytes.NewReader(wrong), int64(len(wrong)), storage.PutOptions{Meta: in.Meta})
	switch k {
	case Truncated:
		out.Size, out.Sums = u.Size, storage.Sums{}
	case Perjured:
		out.Sums = right.Sums
	}
	return unless(err, out)
}

// A past holds what keys held before they were last changed.
type past struct {
	mu  sync.Mutex
	was map[string]former
}

type former struct {
	content []byte
	size    int64 // of what is there now
}

// of returns a range of what a key held before, nil if that is not known or
// too short to pass for what is there now.
func (p *past) of(key string, off, n int64) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	was, ok := p.was[key]
	if n < 0 {
		n = was.size - off
	}
	if !ok || off < 0 || n < 1 || off+n > int64(len(was.content)) {
		return nil
	}
	return was.content[off : off+n]
}

// replacing changes a key by do, and remembers what it held before if Stale may
// have use for it.
func (f *faulty) replacing(ctx context.Context, key string, size int64, do func() error) error {
	if !f.Remember && f.Rates[Stale] == 0 {
		return do()
	}
	var before []byte
	body, _, err := f.inner.Get(ctx, key, "", 0, -1)
	if err == nil {
		before, err = io.ReadAll(body)
		body.Close()
	}
	if changed := do(); changed != nil || err != nil {
		return changed
	}
	f.past.mu.Lock()
	defer f.past.mu.Unlock()
	if f.past.was == nil {
		f.past.was = map[string]former{}
	}
	f.past.was[key] = former{before, size}
	return nil
}
