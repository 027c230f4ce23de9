package storage_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
)

func TestCredentialsAreNeverShown(t *testing.T) {
	t.Parallel()
	const canary = "hunter2"
	c := storage.NewCredentials(map[string]string{"secret_access_key": canary, "access_key_id": "id" + canary})
	type holder struct {
		c     storage.Credentials
		inner struct{ c []storage.Credentials }
		Open  storage.Credentials
	}
	h := holder{c: c, Open: c}
	h.inner.c = []storage.Credentials{c}
	var shown bytes.Buffer
	for _, v := range []any{c, &c, h, &h, []any{c}, map[storage.Credentials]int{c: 1}, errors.New(c.String())} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		shown.Write(b)
		slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", "v", v)
	}
	for _, text := range []string{canary, fmt.Sprintf("%x", canary)} {
		if strings.Contains(shown.String(), text) {
			t.Errorf("it is shown: %s", shown.String())
		}
	}
	if !strings.Contains(shown.String(), "REDACTED") {
		t.Error("nothing says that there is something")
	}
	if err := c.Check("access_key_id"); err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "secret_access_key") {
		t.Errorf("Check() = %v, want the unknown name without its value", err)
	}
}

func TestCredentialsAreValues(t *testing.T) {
	t.Parallel()
	make := func(secret string) storage.Credentials {
		return storage.NewCredentials(map[string]string{"a": "1", "b": secret})
	}
	if one, same := make("x"), make("x"); one != same || one == make("y") {
		t.Error("they are not equal where their content is, and only there")
	}
	if c := make("x"); c.Get("b") != "x" || c.Get("c") != "" || c.IsZero() || c.Check("a", "b") != nil {
		t.Errorf("b is %q, c is %q, check %v", c.Get("b"), c.Get("c"), c.Check("a", "b"))
	}
	none := storage.NewCredentials(nil)
	if !none.IsZero() || none != (storage.Credentials{}) || none.Get("a") != "" || none.Check() != nil || none.String() != "" {
		t.Error("none is something")
	}
}
