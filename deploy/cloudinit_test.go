package deploy

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// The example must run commands and flags that the product has, and set what the
// unit and the configuration know.
func TestCloudInit(t *testing.T) {
	t.Parallel()
	text := read(t, "cloud-init.yaml")
	if !strings.HasPrefix(text, "#cloud-config\n") {
		t.Error("cloud-init would not take it for its own")
	}
	var file struct {
		Files []struct{ Path, Content string } `yaml:"write_files"`
		Run   [][]string                       `yaml:"runcmd"`
	}
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	var joined bool
	for _, words := range file.Run {
		if words[0] != "tranship" {
			continue
		}
		joined = slices.Contains(words, "join")
		wantCommand(t, words)
	}
	last := file.Run[len(file.Run)-1]
	if !joined || !slices.Equal(last, []string{"systemctl", "enable", "--now", "tranship-agent"}) {
		t.Errorf("it joins: %v; the last command is %q", joined, last)
	}
	for _, f := range file.Files {
		unit, ok := strings.CutPrefix(f.Path, "/etc/systemd/system/")
		if unit, _, cut := strings.Cut(unit, ".d/"); !ok || !cut || settings(t, unit)["MemoryMax"] == "" {
			t.Errorf("%s is no drop-in of a unit that bounds memory", f.Path)
		}
		for line := range strings.Lines(f.Content) {
			if name, ok := strings.CutPrefix(line, "Environment=TRANSHIP_"); ok {
				name, _, _ = strings.Cut(name, "=")
				if !strings.Contains(read(t, "../config/example.yaml"), "[TRANSHIP_"+name+"]") {
					t.Errorf("%s sets TRANSHIP_%s, which no key takes", f.Path, name)
				}
			}
		}
	}
}

// wantCommand checks that the product has a command line's command and flags.
func wantCommand(t *testing.T, words []string) {
	t.Helper()
	var command []string
	for _, w := range words[1:] {
		if strings.HasPrefix(w, "-") {
			break
		}
		command = append(command, w)
	}
	help := run(t, exec.Command(program(t), append(command, "--help")...))
	if !strings.Contains(help, "tranship "+strings.Join(command, " ")+" ") {
		t.Errorf("there is no command %q:\n%s", command, help)
	}
	for _, w := range words {
		if strings.HasPrefix(w, "--") && !strings.Contains(help, w+" ") {
			t.Errorf("%q has no flag %s", command, w)
		}
	}
}
