package filestore

import (
	"context"
	"strings"
)

// Tags implements storage.Tagger.
func (s *Store) Tags(ctx context.Context, key string) (map[string]string, error) {
	f, in, err := s.open(ctx, "get tags", key)
	if err != nil {
		return nil, err
	}
	f.Close()
	return in.Meta.Tags, nil
}

// Keeps implements storage.Keeper. It does not look at the disk.
func (s *Store) Keeps(_ context.Context, key string) error {
	if key == "" {
		return s.fail("check the key", key, unkept("an object needs a key"))
	}
	if err := s.keeps(key); err != nil {
		return s.fail("check the key", key, err)
	}
	return nil
}

func (s *Store) keeps(key string) error {
	if _, _, err := split(key); err != nil {
		return err
	}
	if strings.HasSuffix(key, "/") && !s.xattrs {
		return unkept("the file system has no attributes to mark a folder as an object with")
	}
	if h := s.habits.Load(); h != nil {
		return h.takes(key)
	}
	return nil
}
