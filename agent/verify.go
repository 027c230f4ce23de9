package agent

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// strength lists the checksums, best proof first.
var strength = [...]storage.Algos{storage.SHA256, storage.CRC64NVME, storage.CRC32C, storage.MD5, storage.CRC32}

// best returns the best of a set, 0 if it is empty.
func best(set storage.Algos) storage.Algos {
	for _, a := range strength {
		if set&a != 0 {
			return a
		}
	}
	return 0
}

// spelt returns the MD5 that a listed ETag spells, if the store's ETags do. It
// is good for finding that two objects are equal; that they differ it does not
// prove, for the ETag of an encrypted object looks the same and is not one.
func spelt(st storage.Store, etag string) storage.Sums {
	if !st.Traits().ETagIsMD5 {
		return storage.Sums{}
	}
	return storage.Sums{MD5: md5Of(etag)}
}

// md5Of returns the MD5 that an ETag spells, nil if it has not that form.
func md5Of(etag string) []byte {
	if len(etag) != 32 {
		return nil
	}
	sum, err := hex.DecodeString(etag)
	if err != nil {
		return nil
	}
	return sum
}

// checksum writes the best of some sums as an outcome shows it, CRC32C before
// all others.
func checksum(s storage.Sums) string {
	a := s.Algos() & storage.CRC32C
	if a == 0 {
		a = best(s.Algos())
	}
	if a == 0 {
		return ""
	}
	return a.String() + ":" + hex.EncodeToString(s.Get(a))
}

// A mismatch is the error of bytes that are not what they must be.
func mismatch(format string, args ...any) error {
	return &storage.Error{Op: "verify", Store: "the copy", Fault: work.Corrupt, Err: fmt.Errorf(format, args...)}
}

// evidence is what is known of the bytes of an object that was copied.
type evidence struct {
	size int64        // that was listed
	src  storage.Sums // vouched for by the source
	seen storage.Sums // of the bytes that passed; none if the server copied
	dst  storage.Info // what the target says it has
}

// strict reports whether a level compares checksums wherever there are any.
func strict(level work.Verify) bool {
	return level == work.VerifyChecksum || level == work.VerifyReadback
}

// prove decides whether a copy is what the level asks for, and names the
// strongest thing that both ends agree on.
//
// All levels: the target has as many bytes. At level etag, the MD5s that the
// ends' ETags spell are equal, where both do. At level checksum and above,
// every checksum that two of the source, the passing bytes and the target know
// is equal. An end that vouches for nothing that can be compared is believed:
// then the proof is the weaker of what is left, down to the size.
func prove(level work.Verify, e evidence) (proof string, err error) {
	if e.dst.Size != e.size {
		return "", mismatch("the target has %d bytes, the source %d", e.dst.Size, e.size)
	}
	switch level {
	case work.VerifySize:
		return work.ProofOfSize, nil
	case work.VerifyETag:
		e.src, e.dst.Sums, e.seen = storage.Sums{MD5: e.src.MD5}, storage.Sums{MD5: e.dst.Sums.MD5}, storage.Sums{}
	}
	sides := [...]struct {
		what string
		a, b storage.Sums
	}{
		{"what arrived is %s %x, the source vouches for %x", e.seen, e.src},
		{"the target has %s %x, what was sent is %x", e.dst.Sums, e.seen},
		{"the target has %s %x, the source vouches for %x", e.dst.Sums, e.src},
	}
	var agreed [len(sides)]storage.Algos
	for i, s := range sides {
		both, differ := s.a.Compare(s.b)
		if d := best(differ); d != 0 {
			return "", mismatch(s.what, d, s.a.Get(d), s.b.Get(d))
		}
		agreed[i] = both
	}
	return name(agreed[0], agreed[1], agreed[2]), nil
}

// name returns the proof that follows from what the source and the bytes
// (arrival), the bytes and the target (departure), and both ends agree on.
//
// An algorithm alone means that both ends vouch for the same bytes: with the
// same checksum, or each with one of its own that was compared with the bytes
// that passed. The weaker of the two is named then, for a chain is as strong as
// that.
func name(arrival, departure, ends storage.Algos) string {
	switch {
	case ends != 0:
		return best(ends).String()
	case departure == 0 && arrival == 0:
		return work.ProofOfSize
	case departure == 0:
		return best(arrival).String() + work.ProofOfSource
	case arrival == 0:
		return best(departure).String() + work.ProofOfTarget
	}
	return weaker(best(arrival), best(departure)).String()
}

// weaker returns the algorithm of two that proves less.
func weaker(a, b storage.Algos) storage.Algos {
	if slices.Index(strength[:], a) > slices.Index(strength[:], b) {
		return a
	}
	return b
}

// toHash returns the checksums to compute of a body on its way: always CRC32C,
// and what else is needed so that prove can compare each end with something.
// Hashing that a server does anyway is left to it: where the target will name
// a checksum that the source vouches for, the two are compared. Of bytes that
// are kept until the target has answered, more can be computed then.
func toHash(level work.Verify, src storage.Sums, will storage.Algos, kept bool) storage.Algos {
	algos := storage.CRC32C
	if !strict(level) {
		return algos
	}
	have := src.Algos()
	if have&(will|algos) == 0 {
		algos |= cheapest(have)
	}
	if !kept && (have|algos)&will == 0 {
		algos |= cheapest(will)
	}
	return algos
}

// expected returns the checksums that a target will name of what it is sent,
// as far as is known beforehand.
func (e *end) expected() storage.Algos {
	will := storage.Algos(e.names.Load())
	if e.Traits().ETagIsMD5 {
		will |= storage.MD5
	}
	return will
}

// toSend returns the checksums that the target is asked to check: those of the
// source that are not compared on the way.
func toSend(level work.Verify, src storage.Sums, hashed storage.Algos) storage.Sums {
	if !strict(level) {
		return storage.Sums{}
	}
	hashed &^= storage.CRC32C // costs the target nothing
	return only(src, src.Algos()&^hashed)
}

// merge returns the sums of both; where both know one, that of a.
func merge(a, b storage.Sums) storage.Sums {
	more := only(b, b.Algos()&^a.Algos())
	for _, x := range [...]struct{ to, from *[]byte }{
		{&a.MD5, &more.MD5}, {&a.SHA256, &more.SHA256}, {&a.CRC32, &more.CRC32},
		{&a.CRC32C, &more.CRC32C}, {&a.CRC64NVME, &more.CRC64NVME},
	} {
		if *x.from != nil {
			*x.to = *x.from
		}
	}
	return a
}

// only returns some of the sums.
func only(s storage.Sums, keep storage.Algos) storage.Sums {
	for _, x := range [...]struct {
		a storage.Algos
		f *[]byte
	}{
		{storage.MD5, &s.MD5}, {storage.SHA256, &s.SHA256}, {storage.CRC32, &s.CRC32},
		{storage.CRC32C, &s.CRC32C}, {storage.CRC64NVME, &s.CRC64NVME},
	} {
		if keep&x.a == 0 {
			*x.f = nil
		}
	}
	return s
}

// cheapest returns the checksum of a set that costs least to compute.
func cheapest(set storage.Algos) storage.Algos {
	for _, a := range [...]storage.Algos{storage.CRC32C, storage.CRC32, storage.CRC64NVME, storage.SHA256, storage.MD5} {
		if set&a != 0 {
			return a
		}
	}
	return 0
}
