package storage

import (
	"encoding/hex"
	"testing"
)

// TestDigest compares with the check values of the algorithms' catalogues.
func TestDigest(t *testing.T) {
	t.Parallel()
	want := map[Algos]string{
		CRC32C:    "e3069283",
		CRC64NVME: "ae8b14860a799888",
		CRC32:     "cbf43926",
		MD5:       "25f9e794323b453885f5181f1b624d0b",
		SHA256:    "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
	}
	d := NewDigest(CRC32C | CRC64NVME | CRC32 | MD5 | SHA256)
	for _, part := range []string{"12", "", "3456789"} {
		d.Write([]byte(part))
	}
	s := d.Sums()
	for algo, sum := range want {
		if got := hex.EncodeToString(s.Get(algo)); got != sum {
			t.Errorf("%v of 123456789 = %s, want %s", algo, got, sum)
		}
	}
	if some := NewDigest(MD5 | CRC32).Sums().Algos(); some != MD5|CRC32 {
		t.Errorf("a digest of md5 and crc32 knows %v", some)
	}
}

func TestSumsCompare(t *testing.T) {
	t.Parallel()
	a := Sums{MD5: []byte{1}, CRC32C: []byte{2}, SHA256: []byte{3}}
	b := Sums{MD5: []byte{1}, CRC32C: []byte{9}, CRC32: []byte{4}}
	both, differ := a.Compare(b)
	if both != MD5|CRC32C || differ != CRC32C {
		t.Errorf("Compare = %v, %v, want %v, %v", both, differ, MD5|CRC32C, CRC32C)
	}
	if got := (MD5 | CRC32C).String(); got != "crc32c,md5" {
		t.Errorf("String = %q", got)
	}
	c := a.Clone()
	c.MD5[0] = 7
	if a.MD5[0] != 1 {
		t.Error("a clone shares memory")
	}
}

func TestCombine(t *testing.T) {
	t.Parallel()
	text := make([]byte, 70_001)
	for i := range text {
		text[i] = byte(i * i >> 3)
	}
	sum := func(b []byte) Sums {
		d := NewDigest(CRC32C | CRC64NVME)
		d.Write(b)
		return d.Sums()
	}
	whole := sum(text)
	for _, cut := range []int{0, 1, 7, 8, 4096, 65_537, 70_000, 70_001} {
		a, b, n := sum(text[:cut]), sum(text[cut:]), int64(len(text)-cut)
		got := Sums{CRC32C: CombineCRC32C(a.CRC32C, b.CRC32C, n), CRC64NVME: CombineCRC64NVME(a.CRC64NVME, b.CRC64NVME, n)}
		if both, differ := got.Compare(whole); both != CRC32C|CRC64NVME || differ != 0 {
			t.Errorf("combined at %d: %v differ", cut, differ)
		}
	}
	if got := CombineCRC32C(nil, whole.CRC32C, 5); string(got) != string(whole.CRC32C) {
		t.Errorf("combined with nothing before it: %x, want %x", got, whole.CRC32C)
	}
}
