package filestore

import (
	"bytes"
	"os"
)

// A rewriter writes a part where the same part may be already. As long as both
// have the same bytes it only compares; before it writes the first other one it
// clears the part's entry.
type rewriter struct {
	f     *os.File
	off   int64  // of the next byte
	entry int64  // where the part's entry is
	there []byte // room for what is there; nil if the entry vouches for nothing
}

func newRewriter(f *os.File, off, entry int64) (*rewriter, error) {
	w := &rewriter{f: f, off: off, entry: entry}
	var now [entrySize]byte
	if _, err := f.ReadAt(now[:], entry); err != nil {
		return nil, err
	}
	if now != [entrySize]byte{} {
		w.there = make([]byte, 0, 128<<10)
	}
	return w, nil
}

// Write implements io.Writer.
func (w *rewriter) Write(p []byte) (int, error) {
	if w.there != nil {
		w.there = append(w.there[:0], p...) // as long
		if _, err := w.f.ReadAt(w.there, w.off); err != nil {
			return 0, err
		}
		if bytes.Equal(w.there, p) {
			w.off += int64(len(p))
			return len(p), nil
		}
		if err := w.clear(); err != nil {
			return 0, err
		}
	}
	n, err := w.f.WriteAt(p, w.off)
	w.off += int64(n)
	return n, err
}

// clear takes back what the table says of the part. That must be on the disk
// before any other byte is.
func (w *rewriter) clear() error {
	var none [entrySize]byte
	if _, err := w.f.WriteAt(none[:], w.entry); err != nil {
		return err
	}
	w.there = nil
	return w.f.Sync()
}
