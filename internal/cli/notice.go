package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) noticeCommand() *cobra.Command {
	cmd := group("notice", "Look at who is told what has happened, and whether it arrived",
		`Notices to the webhooks and mail receivers in the configuration of the
coordinator that --server or `+serverVariable+` names. Each is tried for almost
two days, and what became of it is remembered for 30 days.`)
	cmd.AddCommand(p.noticeListCommand(), p.noticeReceiversCommand(), p.noticeTestCommand(), p.noticeResendCommand())
	return cmd
}

func (p *program) noticeListCommand() *cobra.Command {
	var (
		server, receiver, state string
		limit                   int
		out                     format
	)
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List notices to receivers and what became of each, newest first",
		Args:    arguments(),
		Example: example("tranship notice ls", "tranship notice ls --receiver ops --state given_up -o json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if state != "" {
				if _, err := oneOf("state", work.DeliveryState(state), work.DeliveryStates()...); err != nil {
					return err
				}
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			rows := pages(limit, func(page api.Page) ([]work.Delivery, string, error) {
				l, err := c.Deliveries(cmd.Context(), work.DeliveryQuery{
					Receiver: receiver, State: work.DeliveryState(state), Cursor: page.Cursor, Limit: page.Limit})
				return l.Deliveries, l.Next, err
			})
			return writeRows(p.stdout, out, rows, deliveryColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	limitFlag(cmd, &limit, 50)
	cmd.Flags().StringVar(&receiver, "receiver", "", "only those to the receiver of this name")
	cmd.Flags().StringVar(&state, "state", "", "only those in this state: waiting, sent or given_up")
	return cmd
}

func (p *program) noticeReceiversCommand() *cobra.Command {
	var (
		server string
		out    format
	)
	cmd := &cobra.Command{
		Use:     "receivers",
		Short:   "List who is told, of what, and when a notice last arrived",
		Args:    arguments(),
		Example: example("tranship notice receivers"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(server)
			if err != nil {
				return err
			}
			receivers, err := c.Receivers(cmd.Context())
			if err != nil {
				return answered(err)
			}
			if len(receivers) == 0 {
				p.say("nobody is told: notify.webhooks and notify.mails of the coordinator's configuration name receivers")
			}
			return writeRows(p.stdout, out, each(receivers), receiverColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	return cmd
}

func (p *program) noticeTestCommand() *cobra.Command {
	var (
		server string
		out    format
	)
	cmd := &cobra.Command{
		Use:   "test RECEIVER",
		Short: "Send a receiver a notice now that means nothing, and say whether it took it",
		Long: `Send a receiver a notice of kind test now, once, and say whether it took it.
One that had answered 410 Gone, and is left alone since then, is told again once
it takes the test.`,
		Args:    arguments("RECEIVER"),
		Example: example("tranship notice test ops"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.client(server)
			if err != nil {
				return err
			}
			d, err := c.TestReceiver(cmd.Context(), args[0])
			if err != nil {
				return answered(err)
			}
			if err := writeOne(p.stdout, out, d, deliveryColumns()); err != nil {
				return err
			}
			if d.State != work.DeliverySent {
				return fail(ExitFailed, fmt.Errorf("%s did not take the test: %s", args[0], text(d.Error)),
					"compare the receiver's settings with notify of the coordinator's configuration")
			}
			return nil
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	return cmd
}

func (p *program) noticeResendCommand() *cobra.Command {
	var (
		server string
		out    format
	)
	cmd := &cobra.Command{
		Use:     "resend ID",
		Short:   "Send a notice to its receiver again, whatever became of it",
		Args:    arguments("ID"),
		Example: example("tranship notice resend 12"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || id <= 0 {
				return usage("tranship notice ls lists them", "%q is not the number of a delivery", args[0])
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			d, err := c.Resend(cmd.Context(), work.DeliveryID(id))
			if err != nil {
				return answered(err)
			}
			return writeOne(p.stdout, out, d, deliveryColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	return cmd
}

func deliveryColumns() []column[work.Delivery] {
	return []column[work.Delivery]{
		plain("id", func(d work.Delivery) string { return strconv.FormatInt(int64(d.ID), 10) }),
		plain("receiver", func(d work.Delivery) string { return text(d.Receiver) }),
		plain("kind", func(d work.Delivery) string { return text(string(d.Kind)) }),
		plain("job", func(d work.Delivery) string { return jobText(d.Job) }),
		plain("state", func(d work.Delivery) string { return string(d.State) }),
		countColumn("tries", func(d work.Delivery) int64 { return int64(d.Tries) }),
		timeColumn("created", func(d work.Delivery) time.Time { return d.CreatedAt }),
		timeColumn("sent", func(d work.Delivery) time.Time { return d.SentAt }),
		plain("next", func(d work.Delivery) string { return stamp(d.NextAt) }),
		plain("error", func(d work.Delivery) string { return text(d.Error) }),
	}
}

// jobText returns the number of a job; "-" of none.
func jobText(id work.JobID) string {
	if id == 0 {
		return "-"
	}
	return id.String()
}

func receiverColumns() []column[work.Receiver] {
	return []column[work.Receiver]{
		plain("name", func(r work.Receiver) string { return text(r.Name) }),
		plain("type", func(r work.Receiver) string { return string(r.Type) }),
		plain("host", func(r work.Receiver) string { return text(r.Host) }),
		timeColumn("sent", func(r work.Receiver) time.Time { return r.SentAt }),
		countColumn("waiting", func(r work.Receiver) int64 { return r.Waiting }),
		countColumn("given_up", func(r work.Receiver) int64 { return r.GivenUp }),
		plain("kinds", func(r work.Receiver) string {
			var kinds []string
			for _, k := range r.Kinds {
				kinds = append(kinds, string(k))
			}
			return strings.Join(kinds, ",")
		}),
		plain("disabled", func(r work.Receiver) string { return text(r.Disabled) }),
	}
}
