package servers_test

import (
	"testing"

	"github.com/tranship/tranship/internal/e2e/servers"
)

func TestAzurite(t *testing.T) {
	t.Parallel()
	one, two := servers.Azurite(t)
	one.CreateContainer(t, "box")
	one.CreateContainer(t, "box")
	if one.Name == two.Name || one.Key == two.Key {
		t.Errorf("the accounts are %s and %s, want two", one.Name, two.Name)
	}
	if _, err := two.Client().DeleteContainer(t.Context(), "box", nil); err == nil {
		t.Error("the accounts share their containers")
	}
}
