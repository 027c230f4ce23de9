package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// completeWithin bounds how long a shell waits for what a server knows.
const completeWithin = 2 * time.Second

// completed gives the commands below root what shells complete beyond commands
// and flags: words that a flag may have, jobs, and files only where there can
// be some.
func (p *program) completed(root *cobra.Command) *cobra.Command {
	words := map[string][]string{
		"output":   {string(formatTable), string(formatTSV), string(formatJSON), string(formatNDJSON)},
		"format":   {reportCSV, reportJSONL},
		"verify":   {string(work.VerifySize), string(work.VerifyETag), string(work.VerifyChecksum), string(work.VerifyReadback)},
		"compare":  {string(work.CompareContent), string(work.CompareSize), string(work.CompareNone)},
		"priority": {string(work.Hi), string(work.Norm), string(work.Lo)},
		"at":       {work.AtSource, work.AtTarget, work.AnySite},
		"scope":    texts(work.Scopes()),
		"fault":    texts(work.Faults()),
		"outcome":  {string(work.Copied), string(work.Skipped), string(work.Failed)},
		"state": {string(work.Running), string(work.Paused), string(work.Succeeded), string(work.Incomplete),
			string(work.JobFailed), string(work.Canceled)},
	}
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for flag, choices := range words {
			if cmd.Flags().Lookup(flag) != nil {
				// It fails only where the flag has choices already, or is none.
				_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
			}
		}
		if cmd.Flags().Lookup("server") != nil {
			_ = cmd.RegisterFlagCompletionFunc("server", p.completeContexts) // as above
		}
		switch {
		case cmd.ValidArgsFunction != nil:
		case strings.Contains(cmd.Use, " JOB"):
			cmd.ValidArgsFunction = p.completeJobs
		case !takesFiles(cmd.Use):
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(root)
	return root
}

// takesFiles reports whether one of the arguments may be a file or a folder.
func takesFiles(use string) bool {
	return strings.Contains(use, "SOURCE") || strings.Contains(use, "FOLDER") || strings.Contains(use, "STORE")
}

// completeJobs names the newest jobs of the server.
func (p *program) completeJobs(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	server := ""
	if f := cmd.Flags().Lookup("server"); f != nil {
		server = f.Value.String()
	}
	c, err := p.client(server)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
	defer cancel()
	list, err := c.Jobs(ctx, "", api.Page{Limit: 20})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var found []cobra.Completion
	for _, j := range list.Jobs {
		about := fmt.Sprintf("%s %s", j.State, text(j.Source))
		if j.Name != "" {
			about = fmt.Sprintf("%s %s", j.State, text(j.Name))
		}
		found = append(found, cobra.CompletionWithDesc(j.ID.String(), about))
	}
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// texts returns words as plain texts.
func texts[T ~string](words []T) []string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	return list
}
