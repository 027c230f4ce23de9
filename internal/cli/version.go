package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker in releases:
//
//	-ldflags "-X github.com/tranship/tranship/internal/cli.version=1.2.3"
var version string

// A build says what this program was built from.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"` // of the revision
	Modified bool   `json:"modified"`       // the tree had changes that the revision does not have
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

// buildVersion reads what the linker and the go command left in the binary.
func buildVersion() build {
	b := build{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "devel"
	}
	return b
}

func (p *program) versionCommand() *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which version this is",
		Args:  arguments(),
		RunE: func(*cobra.Command, []string) error {
			return writeOne(p.stdout, out, buildVersion(), []column[build]{
				plain("version", func(b build) string { return b.Version }),
				plain("revision", func(b build) string { return text(b.Revision) }),
				plain("go", func(b build) string { return b.Go }),
				plain("platform", func(b build) string { return b.OS + "/" + b.Arch }),
			})
		},
	}
	formatFlag(cmd, &out)
	return cmd
}
