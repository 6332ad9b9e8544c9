// Package access knows who may use the gateway's HTTP side: the local API and
// the dashboard. It keeps API tokens, says what each role may do, and writes
// the audit log.
//
// A token has one role:
//
//	permission         reader  operator  device-admin  gateway  admin
//	application.read     x        x           x           x       x
//	devices.read         x        x           x           x       x
//	devices.create                            x           x       x
//	devices.write                             x                   x
//	telemetry.write                                       x       x
//	commands.trigger              x                               x
//	commands.read        x        x           x                   x
//	properties.read      x        x           x           x       x
//	properties.write              x                       x       x
//	gateway.read         x        x           x                   x
//	gateway.operate               x                               x
//	gateway.manage                                                x
//
// The role gateway is for a gateway below this one, and for a program that
// sends data: its PATCH of a property is a report of the device, while an
// operator's is a desired value for the device. [Roles] and [Principal.May]
// hold the table.
//
// A token may be bound to device patterns, in which * stands for any run of
// characters. Calls that name another device are refused, and lists leave
// other devices out.
//
// # How tokens are kept
//
// A token is shown once, when it is made. The file tokens.json in the data
// directory keeps its SHA-256. A slow hash such as argon2id, which the passwords
// of MQTT users get, would gain nothing: it makes guessing words that people
// choose expensive, and the secret is 256 random bits, which nobody guesses at
// any speed. It would cost a tenth of a second of a small processor for each
// request.
//
// The file has mode 0600 and is refused with any wider one. It is replaced as a
// whole (written beside, synced, renamed) under a lock that every writer takes,
// so that the command line may change it while the gateway runs. Each
// authentication looks at the file first, which costs one system call, so a
// revoked token is refused from the next request on.
//
// # Assumptions
//
// Expiry goes by the wall clock. A gateway that starts with a clock that is
// behind takes an expired token until the clock is right.
package access
