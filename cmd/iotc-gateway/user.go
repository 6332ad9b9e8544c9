package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"iotc-gateway/broker"
	"iotc-gateway/cmd/internal/app"
)

func newUserCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Manage who may connect to the broker",
		Long: `Users live in users.json in the data directory, with their passwords hashed.
A running gateway reads the file again by itself, within a second.

By default a user is the device of that name and may touch its topics only.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newUserAddCommand(), newUserListCommand(), newUserRemoveCommand())
	return cmd
}

func openUsers(flags *configFlags) (*broker.Users, error) {
	cfg, err := flags.load()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Gateway.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("gateway.data_dir: %w", err)
	}
	return broker.OpenUsers(app.UsersFile(cfg.Gateway.DataDir))
}

func newUserAddCommand() *cobra.Command {
	var (
		flags    configFlags
		user     broker.User
		role     string
		stdin    bool
		generate bool
		replace  bool
	)
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user",
		Example: `  iotc-gateway user add sensor-17                         asks for the password
  echo "$PASSWORD" | iotc-gateway user add sensor-17 --password-stdin
  iotc-gateway user add plc-bridge --role bridge --devices 'plc-*' --generate
  iotc-gateway user add hmi --role operator --generate`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			user.Name, user.Role = args[0], broker.Role(role)
			if err := user.Validate(); err != nil {
				return usageError("%w", err)
			}
			users, err := openUsers(&flags)
			if err != nil {
				return err
			}
			password, err := readPassword(cmd, stdin, generate)
			if err != nil {
				return err
			}
			if err := users.Add(user, []byte(password), replace); err != nil {
				if errors.Is(err, broker.ErrUserExists) {
					return fmt.Errorf("user %q: %w; --replace changes it", user.Name, err)
				}
				return err
			}
			if generate {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), password)
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "added %s %s\n", user.Role, user.Name)
			return err
		},
	}
	flags.register(cmd)
	f := cmd.Flags()
	f.StringVar(&role, "role", string(broker.RoleDevice), "device, bridge, operator or monitor")
	f.StringSliceVar(&user.Devices, "devices", nil, "device ids the user may write as, with * for any characters (default: the user's name)")
	f.StringSliceVar(&user.Topics, "topics", nil, "further topics, with {device} for one of its devices")
	f.BoolVar(&stdin, "password-stdin", false, "read the password from the first line of standard input")
	f.BoolVar(&generate, "generate", false, "make a password and print it, once")
	f.BoolVar(&replace, "replace", false, "replace the user if there is one of that name")
	cmd.MarkFlagsMutuallyExclusive("password-stdin", "generate")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"device", "bridge", "operator", "monitor"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// readPassword takes the password from where the flags say. It is never an
// argument: those show in every list of processes.
func readPassword(cmd *cobra.Command, stdin, generate bool) (string, error) {
	switch {
	case generate:
		return rand.Text(), nil
	case stdin:
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 4<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	case !term.IsTerminal(int(os.Stdin.Fd())):
		return "", usageError("no terminal to ask for the password: use --password-stdin or --generate")
	}
	first, err := askPassword(cmd, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := askPassword(cmd, "Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ")
	}
	return first, nil
}

func askPassword(cmd *cobra.Command, prompt string) (string, error) {
	fmt.Fprint(cmd.ErrOrStderr(), prompt)
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(cmd.ErrOrStderr())
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return string(b), nil
}

func newUserListCommand() *cobra.Command {
	var (
		flags  configFlags
		output string
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the users",
		Example: "  iotc-gateway user list\n  iotc-gateway user list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			users, err := openUsers(&flags)
			if err != nil {
				return err
			}
			list := users.List()
			if output == "json" {
				if list == nil {
					list = []broker.User{}
				}
				return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			}
			if len(list) == 0 {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "no users; add one with: iotc-gateway user add NAME")
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tROLE\tDEVICES\tTOPICS")
			for _, u := range list {
				id := u.Identity()
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", u.Name, u.Role, strings.Join(id.Devices, ","), strings.Join(u.Topics, ","))
			}
			return w.Flush()
		},
	}
	flags.register(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func newUserRemoveCommand() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a user",
		Example: "  iotc-gateway user remove sensor-17",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			users, err := openUsers(&flags)
			if err != nil {
				return err
			}
			if err := users.Remove(args[0]); err != nil {
				return fmt.Errorf("user %q: %w", args[0], err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", args[0])
			return err
		},
	}
	flags.register(cmd)
	return cmd
}
