package deploy

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
)

// units lists the service files.
func units(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("*.service")
	if err != nil || len(found) < 2 {
		t.Fatalf("units: %v, %v", found, err)
	}
	return found
}

// settings reads what a unit sets; of a name that is set twice, the last one
// counts.
func settings(t *testing.T, unit string) map[string]string {
	t.Helper()
	f, err := os.Open(unit)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	set := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok && !strings.HasPrefix(name, "#") {
			set[name] = value
		}
	}
	return set
}

// A unit must name a command and flags that the product has.
func TestUnitsNameRealCommands(t *testing.T) {
	t.Parallel()
	for _, unit := range units(t) {
		words := strings.Fields(settings(t, unit)["ExecStart"])
		if len(words) < 2 || words[0] != "/usr/bin/tranship" {
			t.Errorf("%s: ExecStart=%s", unit, strings.Join(words, " "))
			continue
		}
		command := words[1]
		if unit != "tranship-"+command+".service" {
			t.Errorf("%s runs %s", unit, command)
		}
		out, err := exec.Command(program(t), command, "--help").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "tranship "+command+" [flags]") {
			t.Errorf("%s: no command %s: %v\n%s", unit, command, err, out)
		}
		for _, w := range words[2:] {
			if strings.HasPrefix(w, "-") && !strings.Contains(string(out), w+" ") {
				t.Errorf("%s: %s has no flag %s", unit, command, w)
			}
		}
	}
}

func TestUnitsGiveTimeToStop(t *testing.T) {
	t.Parallel()
	grace := time.Duration(config.Default().Agent.Grace)
	for _, unit := range units(t) {
		set := settings(t, unit)
		stop, err := time.ParseDuration(set["TimeoutStopSec"] + "s")
		if err != nil || stop < grace+10*time.Second {
			t.Errorf("%s: TimeoutStopSec=%s leaves no time beside a grace of %v", unit, set["TimeoutStopSec"], grace)
		}
		for name, want := range map[string]string{"Type": "notify", "WatchdogSec": "30", "KillMode": "mixed", "Restart": "always"} {
			if set[name] != want {
				t.Errorf("%s: %s=%s, want %s", unit, name, set[name], want)
			}
		}
	}
}

// Credentials of the units must be those that the configuration looks for.
func TestUnitsNameRealCredentials(t *testing.T) {
	t.Parallel()
	example := read(t, "../config/example.yaml")
	for _, unit := range units(t) {
		text := read(t, unit)
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, "LoadCredential="); ok {
				name, _, _ := strings.Cut(rest, ":")
				if !strings.Contains(example, "credential "+name+"]") {
					t.Errorf("%s loads credential %s, which no key takes", unit, name)
				}
			}
		}
	}
}

// Each daemon runs as a user of its own that sysusers.conf makes, and finds its
// data in the folder that the unit gives it.
func TestUnitsHaveUsers(t *testing.T) {
	t.Parallel()
	made := read(t, "sysusers.conf")
	seen := map[string]bool{}
	for _, unit := range units(t) {
		set := settings(t, unit)
		home := "/var/lib/" + set["StateDirectory"]
		if user := set["User"]; user == "" || seen[user] || !userLine(user, home).MatchString(made) {
			t.Errorf("%s: sysusers.conf does not give it a user %q of its own at home in %s", unit, user, home)
		}
		seen[set["User"]] = true
		text := read(t, unit)
		if !strings.Contains(text, "\nEnvironment=TRANSHIP_DATA="+home+"\n") {
			t.Errorf("%s does not tell the daemon that its data is in %s", unit, home)
		}
	}
}

// userLine matches the line of sysusers.d that makes a user.
func userLine(user, home string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^u ` + user + ` +- +"[^"]+" +` + home + `$`)
}

// An agent that may not do anything, because it was revoked, is not started
// again and again.
func TestRevokedAgentStaysDown(t *testing.T) {
	t.Parallel()
	if got := settings(t, "tranship-agent.service")["RestartPreventExitStatus"]; got != "4" {
		t.Errorf("RestartPreventExitStatus=%s, want the status of not allowed, 4", got)
	}
}

func TestSystemdTakesTheUnits(t *testing.T) {
	t.Parallel()
	need(t, "systemd-analyze")
	dir := t.TempDir()
	for _, unit := range units(t) {
		text := read(t, unit)
		// verify wants the program to be there.
		here := strings.Replace(text, "/usr/bin/tranship", program(t), 1)
		path := filepath.Join(dir, unit)
		if err := os.WriteFile(path, []byte(here), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"verify", "--man=no", path},
			{"security", "--offline=true", "--threshold=20", "--no-pager", path},
		} {
			out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
			if err != nil || (args[0] == "verify" && len(out) > 0) {
				t.Errorf("systemd-analyze %s %s: %v\n%s", args[0], unit, err, out)
			}
		}
	}
}

// The packages hold every page and example that the guide speaks of, so that its
// links lead somewhere on a machine without the repository.
func TestPackagedPagesAreWhole(t *testing.T) {
	t.Parallel()
	packages := read(t, "package/nfpm.yaml")
	for _, m := range regexp.MustCompile(`\]\(([A-Za-z-]+(?:/[a-z-]+)?\.[a-z]+)(?:#([a-z-]+))?\)`).FindAllStringSubmatch(read(t, "README.md")+read(t, "RUNBOOK.md"), -1) {
		page, section := m[1], m[2]
		text := read(t, page)
		if section != "" && !slices.Contains(headings(text), section) {
			t.Errorf("%s has no section %s", page, section)
		}
		if !strings.HasSuffix(page, ".md") && !strings.Contains(packages, "src: deploy/"+page+"\n") {
			t.Errorf("the packages do not hold %s", page)
		}
	}
}
