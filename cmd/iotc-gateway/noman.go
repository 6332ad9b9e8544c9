//go:build !man

package main

import "github.com/spf13/cobra"

// releaseCommands are those of a program with the tag man, which makes the
// manual pages; their generator would weigh on every other one for nothing.
func releaseCommands() []*cobra.Command { return nil }
