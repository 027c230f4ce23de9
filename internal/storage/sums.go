package storage

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/minio/crc64nvme"
)

// Algos is a set of checksum algorithms.
type Algos uint8

// The algorithms, in the order in which they are named to people.
const (
	CRC32C Algos = 1 << iota
	CRC64NVME
	CRC32
	MD5
	SHA256
)

// algos names the algorithms and finds their place in Sums.
var algos = []struct {
	algo  Algos
	name  string
	field func(*Sums) *[]byte
	new   func() hash.Hash
}{
	{CRC32C, "crc32c", func(s *Sums) *[]byte { return &s.CRC32C }, func() hash.Hash { return crc32.New(castagnoli) }},
	{CRC64NVME, "crc64nvme", func(s *Sums) *[]byte { return &s.CRC64NVME }, func() hash.Hash { return crc64nvme.New() }},
	{CRC32, "crc32", func(s *Sums) *[]byte { return &s.CRC32 }, func() hash.Hash { return crc32.NewIEEE() }},
	{MD5, "md5", func(s *Sums) *[]byte { return &s.MD5 }, md5.New},
	{SHA256, "sha256", func(s *Sums) *[]byte { return &s.SHA256 }, sha256.New},
}

// nvmePoly is the reversed polynomial of CRC-64/NVME, which S3 uses.
const nvmePoly = 0x9a6c9329ac4bc9b5

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// String names the algorithms of the set.
func (a Algos) String() string {
	var names []string
	for _, x := range algos {
		if a&x.algo != 0 {
			names = append(names, x.name)
		}
	}
	return strings.Join(names, ",")
}

// Algos returns the algorithms whose sums are known.
func (s Sums) Algos() Algos {
	var set Algos
	for _, x := range algos {
		if *x.field(&s) != nil {
			set |= x.algo
		}
	}
	return set
}

// Get returns the sum of one algorithm, nil if it is unknown.
func (s Sums) Get(a Algos) []byte {
	for _, x := range algos {
		if a == x.algo {
			return *x.field(&s)
		}
	}
	return nil
}

// Compare says which algorithms both know, and which of those differ.
func (s Sums) Compare(t Sums) (both, differ Algos) {
	both = s.Algos() & t.Algos()
	for _, x := range algos {
		if both&x.algo != 0 && !bytes.Equal(*x.field(&s), *x.field(&t)) {
			differ |= x.algo
		}
	}
	return both, differ
}

// Clone returns a copy that shares no memory.
func (s Sums) Clone() Sums {
	for _, x := range algos {
		f := x.field(&s)
		*f = slices.Clone(*f)
	}
	return s
}

// A Digest computes checksums of what is written to it. It is for one
// goroutine; Write never fails.
type Digest struct {
	algos  Algos
	hashes []hash.Hash // in the order of the table
}

// NewDigest returns a digest of the algorithms in the set.
func NewDigest(a Algos) *Digest {
	d := &Digest{algos: a}
	for _, x := range algos {
		if a&x.algo != 0 {
			d.hashes = append(d.hashes, x.new())
		}
	}
	return d
}

// Write adds bytes to every checksum.
func (d *Digest) Write(p []byte) (int, error) {
	for _, h := range d.hashes {
		h.Write(p)
	}
	return len(p), nil
}

// Sums returns the checksums of what was written so far.
func (d *Digest) Sums() Sums {
	var s Sums
	i := 0
	for _, x := range algos {
		if d.algos&x.algo != 0 {
			*x.field(&s) = d.hashes[i].Sum(nil)
			i++
		}
	}
	return s
}

// CombineCRC32C returns the CRC32C of two byte strings joined, given that of
// each and the length of the second. A nil first stands for no bytes.
func CombineCRC32C(first, second []byte, length int64) []byte {
	if first == nil {
		return slices.Clone(second)
	}
	a, b := binary.BigEndian.Uint32(first), binary.BigEndian.Uint32(second)
	return binary.BigEndian.AppendUint32(nil, uint32(combine(crc32.Castagnoli, uint64(a), uint64(b), length)))
}

// CombineCRC64NVME is CombineCRC32C for CRC64NVME.
func CombineCRC64NVME(first, second []byte, length int64) []byte {
	if first == nil {
		return slices.Clone(second)
	}
	a, b := binary.BigEndian.Uint64(first), binary.BigEndian.Uint64(second)
	return binary.BigEndian.AppendUint64(nil, combine(nvmePoly, a, b, length))
}

// combine joins two CRCs of a reflected polynomial. To append length bytes is
// to multiply the first CRC by x^(8·length) modulo the polynomial; matrix
// column i of a step says what becomes of bit i.
func combine(poly, first, second uint64, length int64) uint64 {
	var step [64]uint64
	step[0] = poly // one zero bit: bit 0 leaves and brings the polynomial in
	for i := 1; i < 64; i++ {
		step[i] = 1 << (i - 1)
	}
	apply := func(m *[64]uint64, v uint64) (sum uint64) {
		for i := 0; v != 0; i, v = i+1, v>>1 {
			if v&1 != 0 {
				sum ^= m[i]
			}
		}
		return sum
	}
	square := func() {
		old := step
		for i := range step {
			step[i] = apply(&old, old[i])
		}
	}
	for range 3 {
		square() // from one bit to one byte
	}
	for ; length > 0; length >>= 1 {
		if length&1 != 0 {
			first = apply(&step, first)
		}
		square()
	}
	return first ^ second
}
