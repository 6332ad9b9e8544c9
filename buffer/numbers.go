package buffer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// restoreDevices reads the names of the device numbers. All records have keys of their own by now.
func (s *Store) restoreDevices() error {
	type pair struct{ old, other *device }
	var twice []pair
	err := s.kv.scan([]byte{keyDevice}, nil, func(k, v []byte) (bool, error) {
		if len(k) != 5 {
			return true, nil
		}
		no := binary.BigEndian.Uint32(k[1:])
		if no >= 2*maxNumbers {
			return false, fmt.Errorf("%w: device number %d", errCodec, no)
		}
		for uint32(len(s.byNo)) <= no {
			s.byNo = append(s.byNo, nil)
		}
		d := &device{no: no, name: string(v), saved: true}
		if old := s.devices[d.name]; old != nil {
			twice = append(twice, pair{old, d})
			return true, nil
		}
		s.byNo[no], s.devices[d.name] = d, d
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("read devices: %w", err)
	}
	for _, t := range twice {
		if err := s.merge(t.old, t.other); err != nil {
			return fmt.Errorf("join the two queues of device %q: %w", t.old.name, err)
		}
	}
	for no, d := range s.byNo {
		if d == nil {
			s.freeNos = append(s.freeNos, uint32(no))
		}
	}
	return nil
}

// merge joins the records of a device that was forgotten and came back under another number. When a crash came before
// the deletions of the first life, both numbers have some; the fewer ones move. Sequences are unique in a store's life,
// so the order is what it was.
func (s *Store) merge(d, other *device) error {
	here, err := s.countRecords(d.no)
	if err != nil {
		return err
	}
	there, err := s.countRecords(other.no)
	if err != nil {
		return err
	}
	from, to := other.no, d.no
	if here < there {
		from, to = d.no, other.no
	}
	if err := s.renumber(from, to); err != nil {
		return err
	}
	// The number that is given up must not be read as this device's again: its next owner writes its own name.
	if _, err = s.kv.update(func(w *writes) { w.delete(deviceKey(from)) }); err != nil {
		return err
	}
	s.byNo[from] = nil
	d.no = to
	s.byNo[to] = d
	return nil
}

// countLimit is how far records are counted to find out which of two numbers has fewer.
const countLimit = 10_000

func (s *Store) countRecords(no uint32) (n int, err error) {
	for _, c := range Classes() {
		err := s.scanLane(stretch{class: c, dev: no, to: ^uint64(0)}, func(*found) bool { n++; return n < countLimit })
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// renumber moves what is kept under one device number to another. It may be interrupted and done again.
func (s *Store) renumber(from, to uint32) error {
	for _, kind := range []byte{keyGroup, keyQueue} {
		for _, c := range Classes() {
			for {
				n, err := s.renumberSome(kind, c, from, to)
				if err != nil {
					return err
				}
				if n == 0 {
					break
				}
			}
		}
	}
	return nil
}

func (s *Store) renumberSome(kind byte, c Class, from, to uint32) (n int, err error) {
	type kv struct{ key, value []byte }
	var list []kv
	size := 0
	prefix := binary.BigEndian.AppendUint32([]byte{kind, byte(c)}, from)
	err = s.kv.scan(prefix, nil, func(k, v []byte) (bool, error) {
		if _, _, _, ok := splitQueueKey(k); !ok {
			return false, fmt.Errorf("%w: key %x", errCodec, k)
		}
		list = append(list, kv{bytes.Clone(k), bytes.Clone(v)})
		size += len(v)
		return len(list) < txnRecords && size < txnBytes, nil
	})
	if err != nil || len(list) == 0 {
		return 0, err
	}
	_, err = s.kv.update(func(w *writes) {
		for _, e := range list {
			_, _, seq, _ := splitQueueKey(e.key)
			w.set(appendQueueKey(nil, kind, c, to, seq), e.value)
			w.delete(e.key)
		}
	})
	return len(list), err
}

// pruneDevices forgets the names of devices that have nothing waiting when there are more than there may be: devices
// that come and go would leave one behind each.
func (s *Store) pruneDevices() error {
	var idle []*device
	for _, d := range s.devices {
		if len(s.devices)-len(idle) <= s.cfg.MaxDevices {
			break
		}
		if d.idle() {
			idle = append(idle, d)
		}
	}
	for some := range slices.Chunk(idle, txnOps) {
		_, err := s.kv.update(func(w *writes) {
			for _, d := range some {
				w.delete(deviceKey(d.no))
			}
		})
		if err != nil {
			return fmt.Errorf("forget devices: %w", err)
		}
		for _, d := range some {
			s.dropDevice(d)
			s.freeNos = append(s.freeNos, d.no)
		}
	}
	return nil
}
