package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEveryCommandHasAManualPage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man1")
	w := newWorld(t)
	w.wantStatus(t, ExitOK, "man", dir)
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(b), ".SH SYNOPSIS") {
			t.Errorf("%s: %v", name, err)
		}
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				visit(sub)
			}
		}
	}
	visit((&program{}).root())
}

func TestShellsComplete(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"job", "ls", "--state", ""}, "running\npaused\n"},
		{[]string{"copy", "--verify", ""}, "size\netag\nchecksum\nreadback\n"},
		{[]string{"job", "rep"}, "report\tWrite what became of every object of a job, with its proof\n"},
		{[]string{"copy", ""}, ":0\n"}, // files
		{[]string{"up", ""}, ":4\n"},   // no files
	}
	for _, tt := range tests {
		w := newWorld(t)
		w.wantStatus(t, ExitOK, append([]string{"__complete"}, tt.args...)...)
		if got := w.stdout.String(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q completes to\n%swant\n%s", tt.args, got, tt.want)
		}
	}
}
