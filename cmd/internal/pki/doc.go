// Package pki makes the certificates of a site that has no authority of its own: one small authority, a certificate for
// the gateway's listeners and one for each device.
//
// Files are PEM. Beside the authority (ca.crt, ca.key) and the gateway's pair (server.crt, server.key) the folder has a
// pair for each device under devices/. Keys have mode 0600, the folders 0700, and both belong to whom the folder's parent
// belongs to, so that what root makes can be read by the gateway's user. Nothing is ever overwritten but the server's pair,
// which is renewed by writing new files and renaming them: a gateway that looks at the files meanwhile finds an old pair or
// a new one, or one of each, which it refuses and looks at again.
//
// Keys are ECDSA P-256, which small devices can do, and signatures SHA-256. The authority may sign certificates of devices
// and servers and no further authority (RFC 5280 §4.2.1.9). It keeps no list of what it signed besides the files.
package pki
