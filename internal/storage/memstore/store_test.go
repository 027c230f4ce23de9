package memstore

import (
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, storagetest.Harness{
		New:     func(*testing.T) storage.Store { return New() },
		Keys:    storagetest.OddKeys(),
		Checks:  storage.CRC32C | storage.CRC64NVME | storage.CRC32 | storage.MD5 | storage.SHA256,
		Vouches: storage.CRC32C | storage.MD5,
	})
}
