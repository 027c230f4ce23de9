package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tranship/tranship"

// mayImport says which of our packages each package may import. A package
// that is not listed, and an import that is not listed, fail TestImports. It
// says what Go's internal rule cannot: agents never touch SQL, the
// coordinator never opens a bucket, and the two never meet.
var mayImport = map[string][]string{
	".":                             {"internal/cli"},
	"agent":                         {"config", "internal/work", "internal/bus", "internal/storage"},
	"config":                        {"internal/work"},
	"coordinator":                   {"config", "internal/work", "internal/bus", "coordinator/*"},
	"coordinator/allot":             {"internal/work"},
	"coordinator/api":               {"internal/work"},
	"coordinator/collect":           {"internal/work", "coordinator/plan"},
	"coordinator/dispatch":          {"internal/work"},
	"coordinator/ledger":            {"internal/work"},
	"coordinator/ledger/ledgertest": {"internal/pgserver", "coordinator/ledger"},
	"coordinator/notify":            {"internal/work", "internal/netguard"},
	"coordinator/plan":              {"internal/work"},
	"coordinator/reconcile":         {"internal/work"},
	"coordinator/web":               {"coordinator/api", "internal/work"},
	"deploy":                        {},
	"internal/bus":                  {"internal/work"},
	"internal/cli":                  {"*"},
	"internal/e2e":                  {},
	"internal/e2e/proxy":            {},
	"internal/e2e/servers":          {},
	"internal/netguard":             {},
	"internal/pgserver":             {},
	"internal/sim":                  {},
	"internal/smalldisk":            {},
	"internal/storage":              {"internal/work", "internal/netguard"},
	"internal/storage/azurestore":   {"internal/work", "internal/storage", "internal/netguard"},
	"internal/storage/filestore":    {"internal/work", "internal/storage"},
	"internal/storage/gcsstore":     {"internal/work", "internal/storage", "internal/netguard"},
	"internal/storage/memstore":     {"internal/work", "internal/storage"},
	"internal/storage/s3store":      {"internal/work", "internal/storage", "internal/netguard"},
	"internal/storage/storagetest":  {"internal/work", "internal/storage"},
	"internal/work":                 {},
}

// onlyIn says which of our packages may import a foreign one, by its prefix.
var onlyIn = map[string][]string{
	"github.com/jmoiron/sqlx":             {"coordinator/ledger"},
	"github.com/lib/pq":                   {"coordinator/ledger", "coordinator/ledger/ledgertest", "internal/pgserver"},
	"github.com/pressly/goose":            {"coordinator/ledger"},
	"database/sql":                        {"coordinator/ledger", "coordinator/ledger/ledgertest", "internal/pgserver"},
	"github.com/nats-io":                  {"internal/bus"},
	"gocloud.dev":                         {"internal/storage/*"},
	"github.com/aws":                      {"internal/storage/s3store", "internal/e2e/servers"},
	"github.com/spf13/cobra":              {"internal/cli"},
	"github.com/wneessen/go-mail":         {"coordinator/notify"},
	"html/template":                       {"coordinator/web"},
	"github.com/prometheus/client_golang": {"agent", "coordinator", "coordinator/ledger", "internal/cli"},
}

// A listed is what go list says of a package.
type listed struct {
	ImportPath, Doc, Name string
	Imports               []string
	GoFiles               []string
}

func list(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Name,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

// ours returns the package's path below the module, or false if it is foreign.
func ours(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// matches reports whether one of the patterns, which may end in *, names path.
func matches(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if head, ok := strings.CutSuffix(p, "*"); ok {
			return strings.HasPrefix(path, head)
		}
		return p == path
	})
}

func TestImports(t *testing.T) {
	seen := 0
	for _, p := range list(t) {
		name, ok := ours(p.ImportPath)
		if !ok {
			continue
		}
		seen++
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s is not in the import table", name)
			continue
		}
		for _, imp := range p.Imports {
			if path, ok := ours(imp); ok && !matches(allowed, path) {
				t.Errorf("%s imports %s, which the import table does not allow", name, path)
			}
			for prefix, users := range onlyIn {
				if (imp == prefix || strings.HasPrefix(imp, prefix+"/")) && !matches(users, name) {
					t.Errorf("%s imports %s, which only %s may", name, imp, strings.Join(users, ", "))
				}
			}
		}
	}
	if seen < len(mayImport) {
		t.Errorf("go list named %d packages of ours, the import table %d", seen, len(mayImport))
	}
}

func TestPackageDocs(t *testing.T) {
	for _, p := range list(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("package %s has no documentation", p.ImportPath)
		}
	}
}
