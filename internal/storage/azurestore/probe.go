package azurestore

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Probe implements storage.Prober.
func (s *Store) Probe(ctx context.Context, write bool) ([]work.Fact, error) {
	facts, err := s.probe(ctx, write)
	return facts, s.fail("probe", "", err)
}

func (s *Store) probe(ctx context.Context, write bool) ([]work.Fact, error) {
	starts, err := s.startable(ctx)
	if err != nil {
		return nil, err
	}
	facts := s.account(ctx)
	listing := "from the start only: parts of the key range are found by reading past the keys before them"
	if starts {
		listing = "from any key"
	}
	facts = append(facts, work.Fact{Name: "listing", Text: listing})
	if !write {
		return append(facts, work.Fact{Name: "checksums", Text: "MD5 of objects stored in one request; none of those stored in blocks"}), nil
	}
	sums, err := s.trial(ctx)
	if err != nil {
		return nil, err
	}
	return append(facts,
		work.Fact{Name: "checksums", Text: fmt.Sprintf("the service confirms %s of a whole body, %s of a block", named(sums[0]), named(sums[1]))},
		work.Fact{Name: "parts", Text: fmt.Sprintf("up to %d of up to %d MiB, stored as blocks of the object's name", maxBlocks, maxBlock>>20)},
		work.Fact{Name: storage.ConditionsFact, Text: storage.ConditionsKept},
	), nil
}

// account returns what the service tells of the account, if the credentials
// allow to ask.
func (s *Store) account(ctx context.Context) []work.Fact {
	a, err := s.container.GetAccountInfo(ctx, nil)
	if err != nil {
		return nil
	}
	facts := []work.Fact{{Name: "account", Text: text(a.AccountKind) + ", " + text(a.SKUName)}}
	if a.IsHierarchicalNamespaceEnabled != nil && *a.IsHierarchicalNamespaceEnabled {
		facts = append(facts, work.Fact{Name: "namespace", Text: "hierarchical: there are no tags, and folders may be listed out of order"})
	}
	return facts
}

// trial stores an object of its own whole and a block of another, removes the
// one and gives up the other, and returns which checksums the service told.
func (s *Store) trial(ctx context.Context) (told [2]storage.Algos, err error) {
	key := ".tranship-probe-" + rand.Text()
	in, err := s.putWhole(ctx, key, bytes.NewReader([]byte("x")), 1, writing{}, storage.PutOptions{})
	if err != nil {
		return told, err
	}
	name := newID().block(1, nonce{})
	b := newBody(ctx, bytes.NewReader([]byte("x")), 1, 0)
	// The block is discarded with the object.
	resp, err := s.blob(key).StageBlock(ctx, name, b, &blockblob.StageBlockOptions{})
	if _, err = b.finish(err); err == nil {
		var said storage.Sums
		said, err = confirm(storage.Sums{}, resp.ContentMD5, resp.ContentCRC64)
		told = [2]storage.Algos{in.Sums.Algos() &^ storage.CRC32C, said.Algos()}
	}
	if left := s.remove(ctx, key, in.ETag); err == nil {
		err = left
	}
	return told, err
}

func named(a storage.Algos) string {
	if a == 0 {
		return "nothing"
	}
	return a.String()
}
