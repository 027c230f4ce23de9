package azurestore

import (
	"crypto/rand"
	"errors"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func TestMain(m *testing.M) {
	for _, e := range os.Environ() { // what the user has set up is not for tests
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AZURE_") {
			if err := os.Unsetenv(name); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(servers.Main(m))
}

// azurite returns two accounts, whose keys are in the environment.
func azurite(t testing.TB) (one, two *servers.AzureAccount) {
	t.Helper()
	one, two = servers.Azurite(t)
	for _, a := range []*servers.AzureAccount{one, two} {
		name, value, _ := strings.Cut(a.Env(), "=")
		if err := os.Setenv(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return one, two
}

// openURL opens a store that is closed when the test ends.
func openURL(t testing.TB, raw string) *Store {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), u, storage.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.(*Store)
}

// newStore returns an empty store in a container of its own.
func newStore(t testing.TB, prefix string) *Store {
	t.Helper()
	one, _ := azurite(t)
	name := "test-" + strings.ToLower(rand.Text())
	one.CreateContainer(t, name)
	return openURL(t, one.URL(name, prefix))
}

const allSums = storage.CRC32C | storage.CRC64NVME | storage.CRC32 | storage.MD5 | storage.SHA256

func TestConformance(t *testing.T) {
	t.Parallel()
	azurite(t)
	// Azurite lists in the order of UTF-16, which we refuse; see TestListRefusesDisorder.
	disordered := func(key string) bool { return !ordinary(key) }
	kept := slices.DeleteFunc(storagetest.OddKeys(), func(key string) bool {
		return checkKey("pre/fix/"+key) != nil || disordered(key)
	})
	if len(kept) < 40 {
		t.Errorf("only %d odd keys are kept: %q", len(kept), kept)
	}
	skip := map[string]string{}
	if os.Getenv("TRANSHIP_LONG") != "1" {
		skip["List"] = "takes Azurite long: set TRANSHIP_LONG=1; see TestListStarts"
	}
	storagetest.Run(t, storagetest.Harness{
		New:    func(t *testing.T) storage.Store { return newStore(t, "pre/fix") },
		Keys:   kept,
		Avoid:  disordered,
		Checks: allSums,
		Class:  string(blob.AccessTierCool),
		Missing: func(t *testing.T) storage.Store {
			one, _ := azurite(t)
			return openURL(t, one.URL("no-such-container", "pre/fix"))
		},
		Skip: skip,
	})
}

// put stores an object.
func put(t testing.TB, s *Store, key, content string, opts storage.PutOptions) storage.Info {
	t.Helper()
	in, err := s.Put(t.Context(), key, strings.NewReader(content), int64(len(content)), opts)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func wantContent(t testing.TB, s *Store, key, want string) {
	t.Helper()
	body, _, err := s.Get(t.Context(), key, "", 0, -1)
	if err != nil {
		t.Errorf("Get(%q) = %v", key, err)
		return
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || string(got) != want {
		t.Errorf("Get(%q) = %d bytes, %v; want %d others", key, len(got), err, len(want))
	}
}

func wantFault(t testing.TB, what string, err error, want work.Fault) {
	t.Helper()
	var e *storage.Error
	if !errors.As(err, &e) || e.Fault != want {
		t.Errorf("%s = %v with fault %q, want %q", what, err, storage.FaultOf(err), want)
	}
}

func keysOf(t testing.TB, s storage.Store, r work.Range) (keys []string) {
	t.Helper()
	err := s.List(t.Context(), r, func(page []storage.Info) error {
		for _, in := range page {
			keys = append(keys, in.Key)
		}
		return nil
	})
	if err != nil {
		t.Errorf("List(%q) = %v", r, err)
	}
	return keys
}
