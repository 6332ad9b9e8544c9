package central

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Bodies may be sent compressed (RFC 9110 §8.4.1.3, gzip). The reference says nothing of it, so it is off by default;
// another gateway takes it, and a proxy in front of an application may. A server that answers 415 is not asked again.

const (
	headerEncoding = "Content-Encoding"
	encodingGzip   = "gzip"
)

// compressor makes bodies smaller that are worth it. Its zero value compresses nothing. The same body always gives the
// same bytes, so that a retry is what the first attempt was.
type compressor struct {
	over    int64 // bodies of more bytes than this are compressed; 0: none
	writers sync.Pool
}

// compress returns the body as it goes over the wire.
func (c *compressor) compress(body []byte) (wire []byte, compressed bool) {
	if c.over <= 0 || int64(len(body)) <= c.over {
		return body, false
	}
	var out bytes.Buffer
	w, ok := c.writers.Get().(*gzip.Writer)
	if !ok {
		w = gzip.NewWriter(nil)
	}
	defer c.writers.Put(w)
	w.Reset(&out)
	// A buffer in memory takes everything.
	_, _ = w.Write(body)
	_ = w.Close()
	if out.Len() >= len(body) {
		return body, false
	}
	return out.Bytes(), true
}

// errUnpacked says that a compressed body is larger than it may be.
var errUnpacked = errors.New("the body is too large")

// unpack reads a compressed body into buf: at most limit bytes of what is in it, however little was sent.
func unpack(buf *bytes.Buffer, from io.Reader, limit int64) error {
	z, err := gzip.NewReader(from)
	if err != nil {
		return fmt.Errorf("unpack the body: %w", err)
	}
	n, err := buf.ReadFrom(io.LimitReader(z, limit+1))
	if n > limit {
		return errUnpacked
	}
	if err != nil {
		return fmt.Errorf("unpack the body: %w", err)
	}
	return nil
}

// readPacked is readBody for a compressed body.
func (h *Handler) readPacked(c *call, buf *bytes.Buffer, tooLarge error) error {
	err := unpack(buf, io.LimitReader(c.r.Body, h.maxBody+1), h.maxBody)
	switch {
	case errors.Is(err, errUnpacked):
		return tooLarge
	case err != nil:
		return Errorf(http.StatusBadRequest, CodeInvalidBody, "The body is no whole gzip stream.")
	}
	c.body = buf.Bytes()
	return nil
}
