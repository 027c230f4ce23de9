package work

import (
	"bytes"
	"strings"
	"testing"
)

func TestSecret(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		s := NewSecret(SecretToken)
		if len(s) != 53 || !strings.HasPrefix(s, "tsp_") || !IsSecret(SecretToken, s) || seen[s] {
			t.Fatalf("NewSecret = %q: of 53 bytes, whole and new is wanted", s)
		}
		seen[s] = true
	}
}

// A secret with one letter changed, moved or lost is not whole.
func TestSecretMisspelt(t *testing.T) {
	t.Parallel()
	s := NewSecret(SecretToken)
	for i := range s {
		for _, c := range []byte("0Zz_ ") {
			if other := s[:i] + string(c) + s[i+1:]; other != s && IsSecret(SecretToken, other) {
				t.Errorf("%q is whole, and so is %q", s, other)
			}
		}
		if IsSecret(SecretToken, s[:i]+s[i+1:]) {
			t.Errorf("%q is whole without letter %d", s, i)
		}
	}
	if IsSecret(SecretCode, s) || IsSecret(SecretToken, "") {
		t.Error("a text of another kind is whole")
	}
	if bytes.Equal(HashSecret(s), HashSecret(s[1:])) || len(HashSecret(s)) != 32 {
		t.Error("HashSecret does not hash")
	}
}
