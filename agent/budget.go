package agent

import (
	"context"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// Sizes of what bodies are held in.
const (
	// bufferLimit is the largest object that is held whole: so that the store's
	// client can send it again, and so that its checksum is known beforehand.
	bufferLimit = 1 << 20
	// streamCost stands for the buffers that a body passes through on its way
	// from one connection to another.
	streamCost = 256 << 10
	// smallestBuffer is the size of the smallest pooled buffer.
	smallestBuffer = 4 << 10
)

// OwnMemory is what an agent needs, in bytes, besides what its configuration
// lets it hold bodies in: the program, its connections, the queue's client. It
// depends on neither the number nor the size of objects.
const OwnMemory = 96 << 20

// A budget bounds the bytes that the agent holds bodies in.
type budget struct {
	limit int64
	sem   *semaphore.Weighted
	used  atomic.Int64
	peak  atomic.Int64
	pools [9]sync.Pool // of *buffer; each size is twice the one before, the last is bufferLimit
}

// A buffer is memory that is accounted for.
type buffer struct {
	b     []byte
	class int
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, sem: semaphore.NewWeighted(limit)}
}

// take waits until n bytes are free and returns what give must get back: n, or
// the whole budget if that is smaller.
func (b *budget) take(ctx context.Context, n int64) (int64, error) {
	n = min(n, b.limit)
	if err := b.sem.Acquire(ctx, n); err != nil {
		return 0, context.Cause(ctx)
	}
	used := b.used.Add(n)
	for peak := b.peak.Load(); used > peak && !b.peak.CompareAndSwap(peak, used); peak = b.peak.Load() {
	}
	return n, nil
}

func (b *budget) give(n int64) {
	b.used.Add(-n)
	b.sem.Release(n)
}

// classOf returns the pool of buffers that hold n bytes, and their size.
func classOf(n int64) (class int, size int64) {
	if n <= smallestBuffer {
		return 0, smallestBuffer
	}
	class = bits.Len64(uint64(n-1)) - bits.Len64(smallestBuffer-1)
	return class, smallestBuffer << class
}

// buffer waits for a buffer of at least n bytes; n is at most bufferLimit.
func (b *budget) buffer(ctx context.Context, n int64) (*buffer, error) {
	class, size := classOf(n)
	if _, err := b.take(ctx, size); err != nil {
		return nil, err
	}
	if buf, ok := b.pools[class].Get().(*buffer); ok {
		return buf, nil
	}
	return &buffer{b: make([]byte, size), class: class}, nil
}

// free gives a buffer back. Nobody may read it any more.
func (b *budget) free(buf *buffer) {
	b.pools[buf.class].Put(buf)
	b.give(min(int64(len(buf.b)), b.limit))
}

// sleep waits, or returns the cause of the context's end.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
