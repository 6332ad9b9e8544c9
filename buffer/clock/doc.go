// Package clock tells the age and the corrected time of things that were recorded on a machine whose wall clock
// cannot be trusted: a board without a battery starts in 1970 or at the time of its last shutdown, and learns the
// right time minutes later, or never.
//
// # Stamps
//
// A [Stamp] is taken when something is recorded. It holds the number of the boot, the time since that boot on
// CLOCK_BOOTTIME (which also runs while the machine is suspended and never jumps), the wall clock, and whether the
// wall clock was known to be right at that moment.
//
// # Boots and anchors
//
// The clock numbers the boots it has seen by the kernel's boot id, and keeps for each one the uptime it was last seen
// at and, once the wall clock was synchronised during that boot, its anchor: the wall time at which it began. The table
// is a few bytes a boot; [Clock.Snapshot] and [Clock.Restore] let the owner of a store keep it.
//
// # Ages
//
// [Clock.Age] is the wall time between two anchored ends, which includes the time without power. When an end is not
// anchored it is accumulated uptime: the rest of the stamp's boot as far as it was seen, the boots between, and the
// present one. So an age never jumps with the wall clock, and never runs backwards.
//
// # Synchronised or not
//
// systemd-timesyncd's marker file is asked first, then adjtimex(2). Where neither can tell (a container without the
// system call), the policy decides: "auto" trusts a wall clock that is not behind the last one persisted, "trusted"
// always does, "wait" never does.
package clock
