package storage

import "testing"

// BenchmarkDigest shows what each checksum costs of what passes through an
// agent.
func BenchmarkDigest(b *testing.B) {
	block := make([]byte, 64<<10)
	for _, x := range algos {
		b.Run(x.name, func(b *testing.B) {
			b.SetBytes(int64(len(block)))
			d := NewDigest(x.algo)
			for b.Loop() {
				d.Write(block)
			}
		})
	}
}
