package cli

import "strings"

// A collider finds keys that exclude each other in a store of folders: k and
// k/child, because k cannot be a file and a folder at once. It is shown the
// keys of both ends in ascending order.
//
// Between k and k/child may stand other keys, such as k! and k!/x. What can
// still collide is a chain of keys each of which begins with the one before:
// that chain is all it remembers, however many keys there are.
type collider struct {
	chain []holder
}

// A holder is a key below whose name keys may follow.
type holder struct {
	key   string
	size  int64
	write bool // to be written, and not at the target yet
	told  bool // it was returned by meet
}

// meet shows the collider the next key and returns the objects that cannot be
// written, each once: the key itself, if it lies below one that is no folder,
// and holders whose name is a folder at the target. There says that the target
// has the key already, write that it is to be written.
//
// Of two keys that are both to be written the one below is returned; in the
// end it is the one that comes second that fails.
func (c *collider) meet(key string, size int64, write, there bool) (losers []holder) {
	c.forget(key)
	if !write && !there {
		return nil
	}
	met := holder{key: key, size: size, write: write && !there}
	for i := range c.chain {
		h := &c.chain[i]
		if key[len(h.key)] != '/' {
			continue
		}
		if met.write && !met.told {
			met.told = true
			losers = append(losers, met)
		}
		if there && h.write && !h.told {
			h.told = true
			losers = append(losers, *h)
		}
	}
	c.chain = append(c.chain, met)
	return losers
}

// forget drops the holders below which neither this key nor a later one lies.
func (c *collider) forget(key string) {
	for n := len(c.chain) - 1; n >= 0; n-- {
		h := c.chain[n].key
		if strings.HasPrefix(key, h) && len(key) > len(h) && key[len(h)] <= '/' {
			return
		}
		c.chain = c.chain[:n]
	}
}

// waits reports whether a key that the target has may still exclude one that is
// to be written.
func (c *collider) waits() bool {
	for _, h := range c.chain {
		if h.write && !h.told {
			return true
		}
	}
	return false
}
