package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"iotc-gateway/broker"
	"iotc-gateway/cmd/internal/app"
)

func newACLCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "acl",
		Short: "Ask who may publish and subscribe what",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newACLTestCommand())
	return cmd
}

func newACLTestCommand() *cobra.Command {
	var (
		flags    configFlags
		question app.AccessQuestion
		action   string
		output   string
	)
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Tell whether a user may publish or subscribe a topic, and which rule says so",
		Long: `test decides as the broker does: with the users of the data directory, the
listeners' policies and the topics that presets and routes open. The gateway
may be running or not, and nothing is sent.

A user that is not in the users file is taken for one that a client certificate
names. Without --user the question is about a client without credentials.

The exit code is 0 when it is allowed and 1 when it is refused.`,
		Example: `  iotc-gateway acl test --user sensor-17 --topic devices/sensor-17/telemetry --action publish
  iotc-gateway acl test --user hmi --topic 'devices/+/telemetry/#' --action subscribe
  iotc-gateway acl test --listener field --topic plant/hall-1/x --action publish`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			question.Action = broker.Action(action)
			if question.Action != broker.ActionPublish && question.Action != broker.ActionSubscribe {
				return usageError("--action %q: must be publish or subscribe", action)
			}
			if question.Topic == "" {
				return usageError("--topic: say which topic")
			}
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			answer, err := app.Access(cfg, question)
			if err != nil {
				return err
			}
			if output == "json" {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(answer)
			} else {
				err = printAccess(cmd.OutOrStdout(), question, answer)
			}
			if err == nil && !answer.Allowed {
				return exitCode{code: exitFailed}
			}
			return err
		},
	}
	flags.register(cmd)
	outputFlag(cmd, &output)
	f := cmd.Flags()
	f.StringVar(&question.User, "user", "", "user name, or the name in a client certificate; empty: no credentials")
	f.StringVar(&question.Topic, "topic", "", "topic to publish to, or filter to subscribe")
	f.StringVar(&action, "action", "publish", "publish or subscribe")
	f.StringVar(&question.Listener, "listener", "", "listener that the client connects to (default: the first one)")
	_ = cmd.RegisterFlagCompletionFunc("action", cobra.FixedCompletions([]string{"publish", "subscribe"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func printAccess(w io.Writer, q app.AccessQuestion, a app.AccessAnswer) error {
	verdict := "refused"
	if a.Allowed {
		verdict = "allowed"
	}
	user := q.User
	if user == "" {
		user = "(no credentials)"
	}
	_, err := fmt.Fprintf(w, "%s: %s\n\nuser      %s, %s\nrole      %s\ndevices   %s\naction    %s %s\nlistener  %s\n",
		verdict, a.Rule, user, a.Source, a.Role, strings.Join(a.Devices, ", "), q.Action, q.Topic, a.Listener)
	return err
}
