package azurestore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/tranship/tranship/internal/work"
)

const maxKey = 1024 // of the service's characters, which are those of UTF-16

// blob returns the client of the object under a key.
func (s *Store) blob(key string) *blockblob.Client {
	return s.container.NewBlockBlobClient(s.prefix + key)
}

// Keeps implements storage.Keeper, by the service's published rules and what it
// is known to change in silence.
func (s *Store) Keeps(_ context.Context, key string) error {
	return s.fail("keep", key, s.keeps(key))
}

func (s *Store) keeps(key string) error {
	why := errors.New("an object needs a key")
	if key != "" {
		why = checkKey(s.prefix + key)
	}
	if why != nil {
		return &refusal{work.Unsupported, work.FieldKeys, why.Error()}
	}
	return nil
}

// checkKey says why the service would not keep a full key as it is.
func checkKey(full string) error {
	if !utf8.ValidString(full) {
		return errors.New("the key is not UTF-8, as Azure demands")
	}
	if n := len(utf16.Encode([]rune(full))); n > maxKey {
		return fmt.Errorf("the key has %d characters with the prefix, Azure takes up to %d", n, maxKey)
	}
	for _, c := range full {
		switch {
		case c < ' ' || c >= 0x7f && c < 0xa0:
			return errors.New("the key holds a control character, which Azure does not take")
		case c == '\\':
			return errors.New("the key holds a backslash, which Azure takes for a slash")
		case c == 0xfffe || c == 0xffff:
			return errors.New("the key holds a character that Azure's listings cannot hold")
		}
	}
	for part := range strings.SplitSeq(full, "/") {
		if strings.HasSuffix(part, ".") {
			return errors.New("a part of the key ends in a dot, which Azure drops")
		}
	}
	return nil
}

// checkPrefix says why the service would not keep a prefix as it is. It may
// end in the middle of a part.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return checkKey(prefix + "x")
}
