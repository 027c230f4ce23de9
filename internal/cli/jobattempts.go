package cli

import (
	"encoding/base64"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) jobAttemptsCommand() *cobra.Command {
	var (
		server, key64 string
		limit         int
		out           format
	)
	cmd := &cobra.Command{
		Use:   "attempts JOB [KEY]",
		Short: "List every attempt at an object, with the error of each",
		Long: `List every attempt at an object of a job, the newest last, with the error of
each: over retries too, and with the parts of a big object that had to be tried
again. Without a key, list the attempts at those ranges of the source that
could not be listed, or not yet.`,
		Args:    arguments("JOB", "[KEY]"),
		Example: example("tranship job attempts 7 photos/0001.jpg", "tranship job attempts 7 --key64 YgD/ -o json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			q := work.AttemptQuery{Job: id, Listing: true, Limit: limit}
			switch coded := cmd.Flags().Changed("key64"); {
			case coded && len(args) > 1:
				return usage("use one of them", "--key64 and KEY exclude each other")
			case coded:
				b, err := base64.StdEncoding.DecodeString(key64)
				if err != nil {
					return usage("write it as tranship job failures -o json does", "--key64: %q is not base64", key64)
				}
				q.Key, q.Listing = string(b), false
			case len(args) > 1:
				q.Key, q.Listing = args[1], false
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			l, err := c.Attempts(cmd.Context(), q)
			if err != nil {
				return answered(err)
			}
			if l.Older {
				p.say("these are the last %d; --limit shows more", len(l.Attempts))
			}
			return writeRows(p.stdout, out, each(l.Attempts), attemptColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many of the newest, 1000 at most")
	cmd.Flags().StringVar(&key64, "key64", "", "the key in base64, for one that no argument can hold")
	return cmd
}

func attemptColumns() []column[work.Attempt] {
	return []column[work.Attempt]{
		countColumn("attempt", func(a work.Attempt) int64 { return int64(a.Attempt) }),
		plain("what", func(a work.Attempt) string { return api.TriedWords(a) }),
		plain("became", func(a work.Attempt) string { return api.BecameWords(a) }),
		plain("fault", func(a work.Attempt) string { return text(string(a.Fault)) }),
		timeColumn("at", func(a work.Attempt) time.Time { return a.At }),
		plain("agent", func(a work.Attempt) string { return text(a.Agent) }),
		plain("item", func(a work.Attempt) string { return a.Item.String() }),
		countColumn("epoch", func(a work.Attempt) int64 { return int64(a.Epoch) }),
		plain("error", func(a work.Attempt) string { return text(a.Error) }),
	}
}
