package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// packaged makes the packages for this machine once, beside the product.
var packaged = sync.OnceValues(func() (dir string, err error) {
	if _, err := build(); err != nil {
		return "", err
	}
	dir = filepath.Join(folder, "packages")
	cmd := exec.Command("package/build.sh", "1.2.3", dir)
	cmd.Env = append(os.Environ(), "ARCHES="+runtime.GOARCH)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return dir, cmd.Run()
})

// packageFile returns the path of the package of a kind, deb or rpm.
func packageFile(t *testing.T, kind string) string {
	t.Helper()
	dir, err := packaged()
	if err != nil {
		t.Fatalf("make the packages: %v", err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*."+kind))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages of kind %s: %v, %v", kind, found, err)
	}
	return found[0]
}

// inBoth are the files that both packages hold; those of shells and licences
// lie where each family of systems wants them.
var inBoth = []string{
	"/etc/tranship/tranship.yaml",
	"/usr/bin/tranship",
	"/usr/lib/systemd/system/tranship-agent.service",
	"/usr/lib/systemd/system/tranship-coordinator.service",
	"/usr/lib/sysusers.d/tranship.conf",
	"/usr/lib/tmpfiles.d/tranship.conf",
	"/usr/share/bash-completion/completions/tranship",
	"/usr/share/doc/tranship/README.md",
	"/usr/share/doc/tranship/nats/cluster.conf",
	"/usr/share/fish/vendor_completions.d/tranship.fish",
}

func wantFiles(t *testing.T, got []string, others ...string) {
	t.Helper()
	for _, want := range append(slices.Clone(inBoth), others...) {
		if !slices.Contains(got, want) {
			t.Errorf("the package does not hold %s, only %q", want, got)
		}
	}
}

// A machine is a fresh root folder with a systemctl that only notes what it was
// asked.
type machine struct {
	root, asked, path string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} { // the daemons' users must get through
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m := machine{root: filepath.Join(dir, "root"), asked: filepath.Join(dir, "asked")}
	m.path = filepath.Join(dir, "bin") + ":" + os.Getenv("PATH")
	write(t, m.asked, "", 0o644)
	write(t, filepath.Join(dir, "bin", "systemctl"), "#!/bin/sh\necho \"$@\" >>"+m.asked+"\n", 0o755)
	for _, d := range []string{"run/systemd/system", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/rpm"} {
		if err := os.MkdirAll(filepath.Join(m.root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(m.root, "var/lib/dpkg/status"), "", 0o644)
	return m
}

// do runs a program that finds this machine's systemctl.
func (m machine) do(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+m.path)
	return run(t, cmd)
}

// dpkg runs dpkg on the machine; its scripts run outside, but on its files.
func (m machine) dpkg(t *testing.T, args ...string) {
	t.Helper()
	m.do(t, append([]string{"dpkg", "--root=" + m.root, "--force-script-chrootless", "--force-depends"}, args...)...)
}

// wantAsked checks what systemctl was asked since the last time.
func (m machine) wantAsked(t *testing.T, when string, want ...string) {
	t.Helper()
	got := strings.TrimSpace(read(t, m.asked))
	if got != strings.Join(want, "\n") {
		t.Errorf("%s, systemctl was asked\n%s\nwant\n%s", when, got, strings.Join(want, "\n"))
	}
	write(t, m.asked, "", 0o644)
}

// wantThere checks which of the machine's paths exist.
func (m machine) wantThere(t *testing.T, when string, there bool, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if _, err := os.Lstat(filepath.Join(m.root, p)); (err == nil) != there {
			t.Errorf("%s, %s: %v; want it there: %v", when, p, err, there)
		}
	}
}

// What systemctl is asked when a package comes, is replaced and goes. It is
// never asked to start what nobody has started.
const (
	reload  = "daemon-reload"
	restart = "try-restart tranship-coordinator.service tranship-agent.service"
	disable = "disable --now tranship-agent.service tranship-coordinator.service"
)

// TestDeb installs the package on a fresh machine, runs both daemons as their
// units say, upgrades, removes and purges it.
func TestDeb(t *testing.T) {
	long(t)
	need(t, "dpkg", "dpkg-deb", "systemd-sysusers", "systemd-tmpfiles")
	file := packageFile(t, "deb")
	var held []string
	for line := range strings.Lines(run(t, exec.Command("dpkg-deb", "-c", file))) {
		fields := strings.Fields(line)
		held = append(held, strings.TrimPrefix(fields[5], "."))
		if mode := fields[0]; mode[0] == 'd' && mode != "drwxr-xr-x" {
			t.Errorf("folder %s has mode %s", fields[5], mode)
		}
	}
	wantFiles(t, held, "/usr/share/zsh/vendor-completions/_tranship", "/usr/share/doc/tranship/copyright")

	asRoot(t)
	m := newMachine(t)
	m.dpkg(t, "--install", file)
	m.wantAsked(t, "installed", reload)
	m.wantThere(t, "installed", true, inBoth...)
	m.runDaemons(t)

	config := filepath.Join(m.root, "etc/tranship/tranship.yaml")
	write(t, config, "log: {level: debug}\n", 0o644)
	m.dpkg(t, "--install", file)
	m.wantAsked(t, "upgraded", reload, restart)
	if got := read(t, config); got != "log: {level: debug}\n" {
		t.Errorf("upgrading changed the configuration to\n%s", got)
	}

	m.dpkg(t, "--remove", "tranship")
	m.wantAsked(t, "removed", disable, reload)
	m.wantThere(t, "removed", false, "/usr/bin/tranship", "/usr/lib/systemd/system/tranship-agent.service")
	m.wantThere(t, "removed", true, "/etc/tranship/tranship.yaml", "/etc/tranship/postgres-url", "/var/lib/tranship/nats")
	m.dpkg(t, "--purge", "tranship")
	m.wantThere(t, "purged", false, "/etc/tranship", "/var/lib/tranship", "/var/lib/tranship-agent")
}

// runDaemons runs a coordinator and an agent, which it has invited, as the
// installed units say.
func (m machine) runDaemons(t *testing.T) {
	t.Helper()
	write(t, filepath.Join(m.root, "etc/tranship/postgres-url"), startPostgres(t)+"\n", 0o600)
	api := freeAddress(t)
	coordinator := startService(t, m.root, "tranship-coordinator.service",
		"TRANSHIP_HTTP_LISTEN="+api, "TRANSHIP_NATS_LISTEN="+freeAddress(t), "TRANSHIP_HTTP_OPEN=true")
	coordinator.hear(t, "READY=1")
	tranship := filepath.Join(m.root, "usr/bin/tranship")
	invited, err := exec.Command(tranship, "fleet", "invite", "--server", "http://"+api, "--site", "default").Output()
	if err != nil {
		t.Fatal(err)
	}
	// Root joins, and the agent must be able to read what that has written.
	join := append(strings.Fields(string(invited))[1:], "--data", filepath.Join(m.root, "var/lib/tranship-agent"))
	run(t, exec.Command(tranship, join...))
	agent := startService(t, m.root, "tranship-agent.service")
	agent.hear(t, "READY=1")
	for _, s := range []*service{agent, coordinator} {
		s.hear(t, "WATCHDOG=1")
		s.stop(t)
	}
}

// TestRpm looks into the package, puts its files on a fresh machine and takes
// them away; its scripts run as rpm would call them.
func TestRpm(t *testing.T) {
	long(t)
	need(t, "rpm")
	file := packageFile(t, "rpm")
	wantFiles(t, lines(run(t, exec.Command("rpm", "-qlp", file))),
		"/usr/share/zsh/site-functions/_tranship", "/usr/share/licenses/tranship/LICENSE")
	const config = "/etc/tranship/tranship.yaml"
	if got := lines(run(t, exec.Command("rpm", "-qp", "--configfiles", file))); !slices.Equal(got, []string{config}) {
		t.Errorf("configuration files: %q", got)
	}

	asRoot(t)
	need(t, "systemd-sysusers", "systemd-tmpfiles")
	m := newMachine(t)
	rpm := func(args ...string) {
		t.Helper()
		m.do(t, append([]string{"rpm", "--root", m.root, "--noscripts", "--nodeps"}, args...)...)
	}
	script := func(name, versionsLeft string) {
		t.Helper()
		m.do(t, "env", "DPKG_ROOT="+m.root, "sh", "package/"+name+".sh", versionsLeft)
	}
	rpm("--install", file)
	script("postinst", "1")
	m.wantAsked(t, "installed", reload)
	m.wantThere(t, "installed", true, inBoth...)
	userIn(t, m.root, "tranship")
	userIn(t, m.root, "tranship-agent")

	script("postinst", "2") // the new version's, before the old one's
	script("prerm", "1")
	script("postrm", "1")
	m.wantAsked(t, "upgraded", reload, restart, reload)

	write(t, filepath.Join(m.root, config), "log: {level: debug}\n", 0o644)
	script("prerm", "0")
	rpm("--erase", "tranship")
	script("postrm", "0")
	m.wantAsked(t, "removed", disable, reload)
	m.wantThere(t, "removed", false, "/usr/bin/tranship")
	m.wantThere(t, "removed", true, config+".rpmsave", "/var/lib/tranship-agent")
}

// The scripts must run on whatever shell a system has.
func TestPackageScriptsAreSound(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("package/*.sh")
	if err != nil || len(scripts) != 4 {
		t.Fatalf("scripts: %q, %v", scripts, err)
	}
	for _, s := range scripts {
		shell := strings.Fields(strings.TrimPrefix(strings.SplitN(read(t, s), "\n", 2)[0], "#!"))
		if shell[len(shell)-1] == "bash" {
			need(t, "bash")
		}
		run(t, exec.Command(shell[0], append(shell[1:], "-n", s)...))
	}
}
