package agent

import (
	"fmt"
	"io"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A tap hands a body on and looks at every byte that passes. It hands the last
// bytes on only once the body was seen to end well and to be what the source
// vouches for, so that wrong bytes are never stored whole.
type tap struct {
	body   io.Reader
	of     string // whose body it is; empty: the source's
	looks  bool   // the bytes are only looked at: they are not moved anywhere
	flight *flight
	digest *storage.Digest
	want   storage.Sums // what the bytes must add up to, as far as it is computed
	left   int64        // bytes still promised
	lease  *lease       // that it fails with; nil: none
	toll   *toll        // that the bytes pay; nil: none
	seen   storage.Sums // of all bytes, once they have passed
	err    error        // what Read ended with
}

// broke returns why the body could not be read to its end, nil if it was.
func (t *tap) broke() error {
	if t.err == io.EOF {
		return nil
	}
	return t.err
}

// Read implements io.Reader.
func (t *tap) Read(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err := t.body.Read(p[:t.toll.piece(len(p))])
	if unpaid := t.toll.pay(int64(n)); unpaid != nil {
		n, err = 0, unpaid
	}
	if t.looks {
		t.flight.looked(int64(n))
	} else {
		t.flight.passed(int64(n))
	}
	t.digest.Write(p[:n])
	t.left -= int64(n)
	switch {
	case t.left < 0:
		t.err = tooLong(t.side())
	case err != nil && err != io.EOF:
		t.err = err
	case t.left > 0 && err == io.EOF:
		t.err = short(t.side(), t.left)
	case t.left == 0:
		t.err = t.end(err)
	}
	if (t.err == nil || t.err == io.EOF) && t.lease.over() {
		t.err = errLease
	}
	if t.err != nil && t.err != io.EOF {
		return 0, t.err
	}
	return n, t.err
}

// end looks at the end of a body of which every promised byte has come; it
// returns io.EOF if all is well.
func (t *tap) end(err error) error {
	if err == nil {
		if err = ended(t.side(), t.body); err != nil {
			return err
		}
	}
	t.seen = t.digest.Sums()
	if _, differ := t.want.Compare(t.seen); differ != 0 {
		a := best(differ)
		return mismatch("what arrived is %s %x, the source vouches for %x", a, t.seen.Get(a), t.want.Get(a))
	}
	return io.EOF
}

// drain reads the whole body into p, which is of its size.
func (t *tap) drain(p []byte) error {
	if len(p) == 0 {
		p = make([]byte, 1) // Read would not look at the body else
	}
	n := 0
	for n < len(p) {
		m, err := t.Read(p[n:])
		n += m
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
	return nil
}

// ended reads the end of a body of which every promised byte has come.
func ended(side string, body io.Reader) error {
	var one [1]byte
	for range 100 {
		n, err := body.Read(one[:])
		switch {
		case n > 0:
			return tooLong(side)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

func tooLong(side string) error { return mismatch("%s sent more bytes than it promised", side) }

// short is the error of a body that broke off.
func short(side string, missing int64) error {
	return &storage.Error{Op: "read", Store: side, Fault: work.Transient,
		Err: fmt.Errorf("%w: %d bytes are missing", io.ErrUnexpectedEOF, missing)}
}

// side says whose body it is.
func (t *tap) side() string {
	if t.of != "" {
		return t.of
	}
	return "the source"
}
