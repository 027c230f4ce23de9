package cli

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// losersOf shows a collider the keys of two ends and returns what it says, with
// the longest chain that it remembered.
func losersOf(write, there map[string]bool) (losers []string, longest int) {
	var c collider
	all := maps.Clone(write)
	maps.Copy(all, there)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		for _, h := range c.meet(key, 1, write[key], there[key]) {
			losers = append(losers, h.key)
		}
		longest = max(longest, len(c.chain))
	}
	return losers, longest
}

func set(keys string) map[string]bool {
	m := map[string]bool{}
	for _, k := range strings.Fields(keys) {
		m[k] = true
	}
	return m
}

func TestCollider(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, write, there, want string }{
		{"nothing", "", "", ""},
		{"folders", "a/b a/c a/d/e b", "a/d/f", ""},
		{"below an object", "a a/b", "", "a/b"},
		{"below an object of the target", "a/b a/c", "a", "a/b a/c"},
		{"where the target has a folder", "a", "a/b a/c", "a"},
		{"keys between them", "a a!x a-b a.txt a/b", "", "a/b"},
		{"after both", "a a/b a0 b/a", "", "a/b"},
		{"deep", "a a/b/c/d", "", "a/b/c/d"},
		{"replaced", "a a/b", "a/b", "a"},
		{"there already", "", "a", ""},
		{"each once", "a a/b a/b/c", "a/b/c/d a/b/c/e", "a/b a/b/c a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := losersOf(set(tt.write), set(tt.there)); strings.Join(got, " ") != tt.want {
				t.Errorf("losers are %q, want %q", got, tt.want)
			}
		})
	}
}

// TestColliderByComparison compares the one pass with looking at every pair.
func TestColliderByComparison(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	some := func() map[string]bool {
		m := map[string]bool{}
		for range random.IntN(12) {
			key := make([]byte, 1+random.IntN(6))
			for i := range key {
				key[i] = "a!/b"[random.IntN(4)]
			}
			m[string(key)] = true
		}
		return m
	}
	collisions := 0
	for range 5000 {
		write, there := some(), some()
		want := map[string]bool{}
		for k := range write {
			for p := range write {
				if !there[k] && strings.HasPrefix(k, p+"/") {
					want[k] = true
				}
			}
			for p := range there {
				if !there[k] && (strings.HasPrefix(k, p+"/") || strings.HasPrefix(p, k+"/")) {
					want[k] = true
				}
			}
		}
		got, _ := losersOf(write, there)
		slices.Sort(got)
		if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
			t.Fatalf("of %v beside %v the losers are %q, want %v", write, there, got, want)
		}
		collisions += len(want)
	}
	if collisions < 1000 {
		t.Errorf("only %d collisions were tried", collisions)
	}
}

// TestColliderForgets keeps memory from growing with the number of keys.
func TestColliderForgets(t *testing.T) {
	t.Parallel()
	keys := map[string]bool{}
	for a := range 30 {
		for b := range 30 {
			keys[strings.Repeat("x", a+1)+"/"+strings.Repeat("y", b+1)] = true
			keys[strings.Repeat("z", a*30+b+1)] = true
		}
	}
	if _, longest := losersOf(keys, nil); longest > 2 {
		t.Errorf("it remembered %d keys at once", longest)
	}
}
