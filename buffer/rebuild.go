package buffer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"go.uber.org/zap"
)

// openDamaged opens a copy of the database in scratch. When it does not open as it is, a fresh database is made of
// every table and every log that can be read by itself; the versions of the entries tell which one holds.
func openDamaged(dir, scratch string, log *zap.Logger, out *Salvage) (*engine, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("recover: no store in %s: %w", dir, errors.Join(err, os.ErrNotExist))
	}
	cp := filepath.Join(scratch, "copy")
	if err := os.MkdirAll(cp, 0o750); err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	for _, f := range files {
		if filepath.Base(f) == "LOCK" {
			continue
		}
		b, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(cp, filepath.Base(f)), b, 0o600)
		}
		if err != nil {
			log.Warn("copy file of a damaged store", zap.Error(err))
			out.Damaged = append(out.Damaged, f)
		}
	}
	kv := &engine{opt: badgerOptions(cp, log), verify: verifyAll}
	// Without a manifest Badger would begin anew, and delete the tables.
	if _, err := os.Stat(filepath.Join(cp, badger.ManifestFilename)); len(out.Damaged) == 0 && err == nil {
		if err := kv.open(); err == nil {
			return kv, nil
		}
	}
	kv = &engine{opt: badgerOptions(filepath.Join(scratch, "rebuilt"), log), managed: true}
	if err := kv.open(); err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	for _, f := range files {
		var err error
		switch {
		case strings.HasSuffix(f, ".mem"):
			err = kv.addLog(f)
		case strings.HasSuffix(f, ".sst"):
			err = kv.addTable(f)
		default:
			continue
		}
		if err != nil {
			log.Warn("damaged file", zap.String("file", f), zap.Error(err))
			out.Damaged = append(out.Damaged, f)
		}
	}
	return kv, nil
}

// adder puts entries with their versions into a database.
func (e *engine) adder() (*badger.WriteBatch, func(versioned, value []byte, deleted bool) error) {
	wb := e.db.NewManagedWriteBatch()
	return wb, func(versioned, value []byte, deleted bool) error {
		key := bytes.Clone(y.ParseKey(versioned))
		if len(key) == 0 || bytes.HasPrefix(key, []byte("!badger!")) {
			return nil
		}
		if deleted {
			return wb.DeleteAt(key, y.ParseTs(versioned))
		}
		return wb.SetEntryAt(badger.NewEntry(key, bytes.Clone(value)), y.ParseTs(versioned))
	}
}

const metaDeleted = 1 // Badger's bitDelete

// addTable copies the entries of one table file. How it is compressed is told by the manifest only, and that may be
// what is damaged: it is read either way. A block that is taken for what it is not has no valid checksum.
func (e *engine) addTable(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	plain := e.addTableAs(b, options.None)
	if plain == nil {
		return nil
	}
	if err := e.addTableAs(b, options.Snappy); err != nil {
		return plain
	}
	return nil
}

// addTableAs goes from block to block: what a damaged one held is lost, and the others are not.
func (e *engine) addTableAs(b []byte, compression options.CompressionType) (err error) {
	wb, add := e.adder()
	defer func() {
		// What was read before the damage counts.
		if p := recover(); p != nil {
			err = errors.Join(err, fmt.Errorf("panic: %v", p))
		}
		err = errors.Join(err, wb.Flush())
	}()
	t, err := table.OpenInMemoryTable(b, 1, &table.Options{
		BlockSize: e.opt.BlockSize, Compression: compression, ChkMode: options.OnBlockRead,
	})
	if err != nil {
		return err
	}
	firsts := t.KeySplits(math.MaxInt, nil)
	for i, first := range firsts {
		end := ""
		if i+1 < len(firsts) {
			end = firsts[i+1]
		}
		if err := addBlock(t, first, end, add); err != nil {
			return err
		}
	}
	return t.VerifyChecksum()
}

// addBlock copies the entries of a table from one key up to another. On a damaged block the iterator ends, or panics.
func addBlock(t *table.Table, first, end string, add func(versioned, value []byte, deleted bool) error) error {
	it := t.NewIterator(0)
	valid := func(move func()) (ok bool) {
		defer func() { ok = recover() == nil && ok }()
		move()
		return it.Valid() && (end == "" || y.CompareKeys(it.Key(), []byte(end)) < 0)
	}
	for ok := valid(func() { it.Seek([]byte(first)) }); ok; ok = valid(it.Next) {
		v := it.Value()
		if err := add(it.Key(), v.Value, v.Meta&metaDeleted != 0); err != nil {
			return err
		}
	}
	return nil
}

// addLog copies the whole transactions of a memtable's log.
func (e *engine) addLog(path string) (err error) {
	b, err := os.ReadFile(path)
	if err != nil || len(b) <= logHeader {
		return err
	}
	wb, add := e.adder()
	defer func() { err = errors.Join(err, wb.Flush()) }()
	b = b[logHeader:]
	for start, at := 0, 0; ; {
		size, ends := logEntry(b[at:], castagnoli)
		if size == 0 {
			if n := tornTail(b); n > 0 {
				return fmt.Errorf("%d bytes after the last whole transaction", n)
			}
			return nil
		}
		at += size
		for ends && start < at {
			n, _ := logEntry(b[start:], castagnoli)
			entry := b[start : start+n]
			start += n
			klen, i := binary.Uvarint(entry[2:])
			vlen, j := binary.Uvarint(entry[2+i:])
			_, k := binary.Uvarint(entry[2+i+j:])
			head := uint64(2 + i + j + k)
			if klen <= 8 || entry[0]&logEndsTxn != 0 {
				continue
			}
			err := add(entry[head:head+klen], entry[head+klen:head+klen+vlen], entry[0]&metaDeleted != 0)
			if err != nil {
				return err
			}
		}
	}
}
