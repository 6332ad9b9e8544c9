package main

import "github.com/spf13/cobra"

// commands lists the subcommands; each has a file of its own.
func commands() []*cobra.Command {
	return []*cobra.Command{
		newRunCommand(),
		newDemoCommand(),
		newEmulatorCommand(),
		newCheckCommand(),
		newMapCommand(),
		newCaptureCommand(),
		newDeadLetterCommand(),
		newDeviceCommand(),
		newUserCommand(),
		newTokenCommand(),
		newReloadCommand(),
		newACLCommand(),
		newCertCommand(),
		newHealthcheckCommand(),
		newBufferCommand(),
		newDoctorCommand(),
		newSimulateCommand(),
		newBenchCommand(),
		newVersionCommand(),
	}
}
