package bench_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"iotc-gateway/cmd/internal/bench"
)

// echo is a server that sends everything back.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// over sends bytes over a wire and returns what comes back until there are as
// many or the connection ends.
func over(t *testing.T, w *bench.Wire, sent []byte, limit time.Duration) ([]byte, error) {
	t.Helper()
	c, err := net.Dial("tcp", w.Address())
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write(sent); err != nil {
		return nil, err
	}
	got := make([]byte, len(sent))
	n, err := io.ReadFull(c, got)
	return got[:n], err
}

func TestWire(t *testing.T) {
	t.Parallel()
	w, err := bench.NewWire(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	text := bytes.Repeat([]byte("text "), 100)
	well := func() {
		t.Helper()
		if got, err := over(t, w, text, 10*time.Second); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("a wire that is well brought %d of %d bytes: %v", len(got), len(text), err)
		}
	}
	ill := func(i bench.Ill) {
		t.Helper()
		if err := w.Set(i); err != nil {
			t.Fatal(err)
		}
	}
	well()

	ill(bench.Ill{Refused: true})
	if _, err := net.Dial("tcp", w.Address()); err == nil {
		t.Error("a refused wire let a connection in")
	}
	ill(bench.Ill{})
	well()

	ill(bench.Ill{CutAfter: 100, PerPiece: 50})
	if got, err := over(t, w, text, 10*time.Second); err == nil || len(got) > 100 {
		t.Errorf("%d bytes came through a wire that cuts after 100: %v", len(got), err)
	}

	ill(bench.Ill{Stalled: true})
	if got, err := over(t, w, text, 100*time.Millisecond); err == nil || len(got) > 0 {
		t.Errorf("%d bytes came through a stalled wire", len(got))
	}

	ill(bench.Ill{Garbled: true})
	got, err := over(t, w, text, 10*time.Second)
	if err != nil || len(got) != len(text) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	flipped := 0
	for i := range got {
		if got[i] != text[i] {
			flipped++
		}
	}
	if flipped != 5 {
		t.Errorf("%d of 500 bytes are flipped, want 5", flipped)
	}

	ill(bench.Ill{Delay: 30 * time.Millisecond, PerPiece: 100})
	start := time.Now()
	if got, err := over(t, w, text, 10*time.Second); err != nil || !bytes.Equal(got, text) {
		t.Fatalf("slow wire: %d bytes, %v", len(got), err)
	}
	if took := time.Since(start); took < 150*time.Millisecond {
		t.Errorf("five pieces of 30 ms took %s", took)
	}
	ill(bench.Ill{})
	well()
}

// What was connected when the wire changed is reset.
func TestWireCut(t *testing.T) {
	t.Parallel()
	w, err := bench.NewWire(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	c, err := net.Dial("tcp", w.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	w.Cut()
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after the cut: %v, want a reset", err)
	}
}
