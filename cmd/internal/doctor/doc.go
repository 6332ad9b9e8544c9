// Package doctor examines a gateway, running or stopped, and says what is wrong
// and what to do about it.
//
// Every check is a function that looks at one thing and returns findings; none
// changes anything. What needs the network has a time limit of its own, so
// that a dead link costs seconds and not a hanging program.
//
// [WriteBundle] packs the findings with what a person who is not at the machine
// needs besides: the configuration in force, versions, health, figures and the
// end of the log. Nothing secret goes in: secrets are left out by type where
// the program knows them, and every text passes a [Redactor] on its way into
// the archive, which takes out the values themselves and whatever looks like a
// token, a password or a private key.
package doctor
