package work

import (
	"strings"
	"testing"
)

func TestParseCarry(t *testing.T) {
	t.Parallel()
	c, err := ParseCarry(" tags=fail, archived=skip ,")
	if err != nil || c != "archived=skip,tags=fail" {
		t.Fatalf("ParseCarry = %q, %v", c, err)
	}
	for f, want := range map[Field]Policy{
		FieldTags: PolicyFail, FieldArchived: PolicySkip, FieldKeys: PolicyFail, FieldMTime: PolicyDrop,
	} {
		if got := c.For(f); got != want {
			t.Errorf("policy of %s = %s, want %s", f, got, want)
		}
	}
	for bad, word := range map[string]string{
		"tags": "form", "tag=fail": "unknown field", "tags=lose": "unknown policy", "keys=drop": "dropped",
		"tags=fail,tags=skip": "two policies",
	} {
		if _, err := ParseCarry(bad); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("ParseCarry(%q) = %v, want an error about %q", bad, err, word)
		}
	}
}

func TestClassRule(t *testing.T) {
	t.Parallel()
	r, err := ParseClassRule("STANDARD_IA=NEARLINE,*=STANDARD")
	if err != nil {
		t.Fatal(err)
	}
	for class, want := range map[string]string{"STANDARD_IA": "NEARLINE", "GLACIER": "STANDARD", "": "STANDARD"} {
		if got := r.Map(class); got != want {
			t.Errorf("class %q becomes %q, want %q", class, got, want)
		}
	}
	if ClassRule("keep").Map("COLD") != "COLD" || ClassRule("").Map("COLD") != "" || ClassRule("A=B").Map("C") != "" {
		t.Error("keep, the empty rule or an unnamed class is not mapped as it should be")
	}
	if _, err := ParseClassRule("COLD"); err == nil {
		t.Error("a rule without = was taken")
	}
}

func TestWeak(t *testing.T) {
	t.Parallel()
	for proof, want := range map[string]bool{
		"crc32c": false, "md5/target": false, "crc32c/source": true, "size": true, "": true,
	} {
		if Weak(proof) != want {
			t.Errorf("Weak(%q) = %v", proof, !want)
		}
	}
}
