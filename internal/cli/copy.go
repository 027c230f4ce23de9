package cli

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A copyOrder is what the user of copy asked for.
type copyOrder struct {
	// As given.
	server, data, name, at     string
	verify, compare, priority  string
	attempts, streams          int
	split, storageClass, carry string
	inspect                    int
	wait, dryRun               bool
	out                        format

	// As understood.
	source, target string // URLs
	options        work.Options
	class          work.Class
}

func (p *program) copyCommand() *cobra.Command {
	o := &copyOrder{}
	def := work.DefaultOptions()
	cmd := &cobra.Command{
		Use:   "copy SOURCE TARGET",
		Short: "Copy every object of one store to another",
		Long: `Copy every object of SOURCE to TARGET. A store is a URL or a folder's path:

  s3://bucket/prefix?region=eu-west-1    also ?endpoint=http://…&use_path_style=true&profile=…
  gs://bucket/prefix    azblob://container/prefix    file:///folder    ./folder
  store://name/prefix    a store of the agents' configuration, by its name there

With --server, or TRANSHIP_SERVER set, the job is handed to that coordinator
and its agents. Without, it runs here, all in this process, with its ledger in
the data folder: if it is stopped or killed, the same command continues it.

Objects that stand at the target already, with the same content, are skipped;
one of the same key with other content is replaced. Nothing is ever deleted.
Credentials come from the configuration (stores) or the environment of whoever
moves the bytes, never from the URL.

What of an object the target cannot hold is left behind and counted: headers,
metadata, tags, class (what --storage-class asks for) and mtime. Objects whose
keys it cannot hold, and archived ones, which cannot be read, fail. --carry says
otherwise, field by field: fail lets such objects fail, skip leaves them out,
drop copies them without. With fail a job of two stores that cannot carry the
field at all fails at its start.

--dry-run writes nothing. It lists both stores and says what would be copied,
what both stores are able to do, and what does not fit. The exit status is 1 if
objects would fail: because of a field or key whose policy is fail, because they
are larger than the target takes, or because they cannot be read.`,
		Args: arguments("SOURCE", "TARGET"),
		Example: example(
			"tranship copy ./photos 's3://backup/photos?region=eu-west-1'",
			"tranship copy --server http://127.0.0.1:8480 --wait s3://from s3://to",
			"tranship copy --dry-run --carry tags=fail,archived=skip s3://from ./folder",
		),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.read(args); err != nil {
				return err
			}
			there, err := p.chosen(o.server)
			switch {
			case err != nil:
				return err
			case o.dryRun:
				return p.copyDryRun(cmd.Context(), o)
			case there.Server != "":
				return p.copyThere(cmd.Context(), o, o.server)
			}
			return p.copyHere(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.server, "server", "", "hand the job to this coordinator, an address or a context (default: $"+serverVariable+", else the context in use, else it runs here)")
	dataFlag(cmd, &o.data)
	formatFlag(cmd, &o.out)
	f.StringVar(&o.verify, "verify", string(def.Verify), "proof that a copy needs: size, etag, checksum or readback (which reads the target again)")
	f.StringVar(&o.compare, "compare", string(def.Compare), "how to tell that an object is there already: content, size or none")
	f.StringVar(&o.split, "split-size", "", "size from which an object travels in parts that all agents share (default "+config.Size(work.SplitSize).String()+")")
	f.StringVar(&o.storageClass, "storage-class", "", "storage class at the target: keep, or rules such as STANDARD_IA=NEARLINE,*=STANDARD (default: the target's own)")
	f.StringVar(&o.carry, "carry", "", "what to do with objects that do not fit, such as tags=fail,archived=skip (see above)")
	f.IntVar(&o.attempts, "max-attempts", def.MaxAttempts, "tries of an object before it is given up")
	f.IntVar(&o.streams, "streams", 0, "objects to move at once, if the job runs here (default: as many as move the most)")
	f.StringVar(&o.name, "name", "", "name of the job, for people")
	f.StringVar(&o.at, "at", "", "with --server: where it runs: source or target (the store's site in the coordinator's configuration), any, or a site (default: source, else target, else default)")
	f.StringVar(&o.priority, "priority", string(work.Norm), "urgency: hi, norm or lo")
	f.BoolVar(&o.wait, "wait", false, "with --server: follow the job to its end")
	f.BoolVar(&o.dryRun, "dry-run", false, "write nothing: say what would be copied and what does not fit, looking from this machine")
	f.IntVar(&o.inspect, "inspect", inspectObjects, "with --dry-run: how many objects to look at for metadata that does not fit; 0: none")
	return cmd
}

// read checks the arguments and flags and fills in the rest.
func (o *copyOrder) read(args []string) error {
	var err error
	if o.source, err = storeURL("SOURCE", args[0]); err != nil {
		return err
	}
	if o.target, err = storeURL("TARGET", args[1]); err != nil {
		return err
	}
	if err := apart(o.source, o.target); err != nil {
		return err
	}
	if o.options.Verify, err = work.ParseVerify(o.verify); err != nil {
		return usage("see tranship copy --help", "--verify: %w", err)
	}
	if o.options.Compare, err = work.ParseCompare(o.compare); err != nil {
		return usage("see tranship copy --help", "--compare: %w", err)
	}
	if o.options.MaxAttempts = o.attempts; o.attempts < 1 {
		return usage("1 means no second try", "--max-attempts: %d is less than 1", o.attempts)
	}
	if err := o.readFit(); err != nil {
		return err
	}
	if o.class, err = oneOf("priority", work.Class(o.priority), work.Classes()...); err != nil {
		return err
	}
	if o.at != "" {
		if err := work.CheckName("site", o.at); err != nil {
			return usage("see tranship copy --help", "--at: %w", err)
		}
	}
	return nil
}

// readFit checks the flags that say how objects are cut, stored and fitted.
func (o *copyOrder) readFit() error {
	var err error
	if o.split != "" {
		var size config.Size
		if err := size.UnmarshalText([]byte(o.split)); err != nil {
			return usage("see tranship copy --help", "--split-size: %w", err)
		}
		if size < api.MinSplit {
			return usage("larger objects travel in parts; leave it out for the default",
				"--split-size: %s is less than %v", o.split, config.Size(api.MinSplit))
		}
		o.options.Split = int64(size)
	}
	if o.options.Class, err = work.ParseClassRule(o.storageClass); err != nil {
		return usage("see tranship copy --help", "--storage-class: %w", err)
	}
	if o.options.Carry, err = work.ParseCarry(o.carry); err != nil {
		return usage("see tranship copy --help", "--carry: %w", err)
	}
	if o.inspect < 0 {
		return usage("0 looks at none", "--inspect: %d is less than 0", o.inspect)
	}
	return nil
}

// storeURL returns the URL of a store that is given as a URL or as the path
// of a folder.
func storeURL(what, arg string) (string, error) {
	if arg == "" {
		return "", usage("write for example s3://bucket/prefix or ./folder", "%s is empty", what)
	}
	if scheme, rest, ok := strings.Cut(arg, ":"); ok && isScheme(scheme) && strings.HasPrefix(rest, "//") {
		if _, err := storage.ParseURL(arg); err != nil {
			return "", usage("see tranship copy --help", "%s: %w", what, err)
		}
		return arg, nil
	}
	path, err := filepath.Abs(arg)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return (&url.URL{Scheme: "file", Path: path}).String(), nil
}

// isScheme reports whether s can be the scheme of a URL.
func isScheme(s string) bool {
	for i, c := range s {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", c)) {
			return false
		}
	}
	return s != ""
}

// apart refuses a target that is the source or lies in it: the copy would
// find its own objects and never end.
func apart(source, target string) error {
	s, serr := url.Parse(source)
	t, terr := url.Parse(target)
	if serr != nil || terr != nil || s.Scheme != t.Scheme || s.Host != t.Host || s.RawQuery != t.RawQuery {
		return nil
	}
	folder := func(u *url.URL) string { return strings.TrimRight(u.Path, "/") + "/" }
	switch {
	case folder(s) == folder(t):
		return usage("name two different stores", "source and target are the same: %s", source)
	case strings.HasPrefix(folder(t), folder(s)):
		return usage("name a target outside of the source", "the target %s lies in the source %s", target, source)
	}
	return nil
}

// copyThere hands the job to a server.
func (p *program) copyThere(ctx context.Context, o *copyOrder, server string) error {
	c, err := p.client(server)
	if err != nil {
		return err
	}
	job, _, err := c.CreateJob(ctx, api.NewJob{
		Name: o.name, Source: o.source, Target: o.target, Site: o.at, Class: o.class,
		Options: api.Options{Verify: o.options.Verify, Compare: o.options.Compare, MaxAttempts: o.options.MaxAttempts,
			Split: o.options.Split, Class: o.options.Class, Carry: o.options.Carry},
	}, "")
	if err != nil {
		return answered(err)
	}
	if o.wait {
		p.say("job %d", job.ID)
		return p.watch(ctx, c, job.ID, o.out)
	}
	if o.out != formatAuto {
		return writeOne(p.stdout, o.out, job, jobColumns())
	}
	p.say("job %d is under way; tranship job watch %d follows it", job.ID, job.ID)
	if _, err := fmt.Fprintln(p.stdout, job.ID); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
