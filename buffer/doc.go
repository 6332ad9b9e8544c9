// Package buffer is the gateway's durable store: a queue of records for the uplink, the dead letters, and small key
// spaces for everyone who has to remember something, on a journal and one Badger database with one committer.
//
// # Promises
//
//   - [Store.Append] calls done with nil only after the batch was synced (Config.Sync: always). A batch is stored as a
//     whole or not at all. done is called in the order of the calls. A failed transaction never acknowledges anything.
//   - A record leaves the queue by [Store.Commit], or for a counted reason: see ClassStats.Dropped.
//   - With LeaseOptions.PerDevice 1 the property and telemetry records of a device are leased strictly in the order in
//     which they were appended; records of the class device go before everything else of their device, and commands
//     before properties and telemetry.
//   - The request id of a lease is the same on every attempt and after a restart. A composition of several records is
//     on disk before it is handed out.
//   - Nothing here blocks on the disk except Open, Close and what says so in its name or comment.
//
// # Assumptions
//
// fsync makes durable what it says it does; a file system returns what was written to it or an error; one process uses
// a directory at a time (a lock enforces that).
//
// # On disk
//
// The directory holds lock (flock, with the process id for people), format (the version as text, read before anything
// else is touched), db (Badger, with the journal's two files), and corrupt-<time> for databases that were set aside. Keys,
// numbers big-endian:
//
//	q class device seq   one record, or a chunk: records of that lane from seq on, which were stored together
//	b seq                a block: records that were stored together while all of them are in memory
//	B seq                which records of the block or chunk that begins with seq are settled, a bit each
//	d device             the name of a device number
//	c class device seq   a composition: the sequences that go as one
//	x id                 a dead letter
//	s space 0 key        a value of a key space
//	m/...                format, store id, totals, boots, cursors
//
// Every value begins with a version byte. The totals (counts and bytes of each class, next sequence) are written with
// every transaction, so statistics and opening scan nothing.
//
// # Journal
//
// A transaction is durable when it is in the journal: one write, past the page cache where that can be, to a place that
// the file has already, which is all that a lone publish waits for. Badger is not synced then. The journal has two
// segments of up to 2 MiB that are used in turns; before one of them is used again, Badger gets what only that one has and
// is synced. So what is read back only after a crash (blocks, their bits, compositions, totals) never gets into Badger
// when it is settled within the length of a segment, and a gateway whose uplink keeps up writes little but the journal.
// What the store reads while it is open goes into both at once. An opening store does again what the journal has.
//
// # Blocks
//
// While the uplink keeps up, a record is in memory from its commit to its delivery, and reading it back is never needed
// but after a crash. Such records go to disk as one compressed block a transaction, and their settlement as bits, so
// that there are a handful of entries a transaction instead of two a record. Blocks of one record, and those that are
// mostly settled, are turned into single keys after a while; so are those that an opening store finds.
//
// # Chunks
//
// A record that does not fit into the memory budget, or whose lane has others on disk before it, lies behind the window
// of its lane. Those of telemetry that one transaction has for a lane are compressed together, under the key of the first
// of them. Where a transaction has one only, it gets a key of its own, and when 128 such stand one behind the other they
// are made a chunk. A chunk is read in pieces, settled by bits, and deleted when its last record is settled. Keys of a
// lane never overlap, so that reading them in order gives the records in order.
//
// # Space and memory
//
// Badger gives back what was deleted when it compacts, and it maps its tables. Both are helped: see giveBack and
// keepPaging. With few tables it runs without compactors, which would wake an idle process forty times a second; update
// opens it anew when tables gather.
//
// # Lanes
//
// A lane is the FIFO of one class of one device: a window in memory, then what is on disk from a remembered cursor on.
// It is read in transactions of at most 256 records, from the cursor and never from the front, where deleted records
// would have to be walked over. Opening takes one seek a lane and device, whatever they hold.
//
// # Crashes
//
// A transaction is in the journal as a whole or cut off at Open (Stats.Torn). Deletions of settled records ride in the
// next transaction or follow within 250 ms; when they are lost, the records come again under the same request ids. A
// record superseded, evicted or dead-lettered just before a crash may come again too. The deletion of a composition
// never comes before that of its records, so one that misses a record was settled as a whole.
//
// After a transaction failed, the database is closed and opened again before the next one, gets all that the journal has,
// and the journal gets new files: nothing builds on what could not be written. If that fails too, appends are refused with
// [ErrFailed] and it is tried again every second. A failed transaction that is in the journal all the same is delivered,
// though it was never acknowledged.
//
// # Limits
//
// A record of 500 KiB, a batch of 540 KiB or 4,000 entries. Free space is watched every second and every 8 MiB, because
// Badger's files are mapped and a full file system is a SIGBUS, no error: below min_free_bytes plus 48 MiB appends are
// refused, below 24 MiB nothing is written, not even deletions, and Open waits. Another process that fills the disk
// faster than that is beyond our power. Bytes that changed amid the journal, in which every entry was synced before the
// next one, are damage: the store is set aside and [Recover] reads what is left. Without Config.Sync always such a place
// is taken for the end, for a power failure may leave one.
//
// With keep_last at most 131,072 properties are remembered; those beyond it are all delivered.
package buffer
