package payload

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"time"
)

// gzipDecoder unpacks RFC 1952 before the inner format sees it. What comes out is bounded by MaxBytes while it is
// unpacked, so a small bomb costs no more than an honest payload of the largest size.
type gzipDecoder struct {
	inner  Decoder
	limits Limits
	spare  sync.Pool // of *gzip.Reader, which is 40 KB each
}

func newGzip(inner Decoder, opts Options) Decoder {
	return &gzipDecoder{inner: inner, limits: opts.Limits}
}

func (d *gzipDecoder) Decode(data []byte, now time.Time) (Document, error) {
	plain, err := d.unpack(data)
	if err != nil {
		return Document{}, err
	}
	return d.inner.Decode(plain, now)
}

func (d *gzipDecoder) unpack(data []byte) ([]byte, error) {
	if len(data) > d.limits.MaxBytes {
		return nil, tooLarge("gzip", len(data), d.limits)
	}
	source := bytes.NewReader(data)
	reader, reused := d.spare.Get().(*gzip.Reader)
	var err error
	if reused {
		err = reader.Reset(source)
	} else {
		reader, err = gzip.NewReader(source)
	}
	if err != nil {
		return nil, fault("gzip", 0, ErrSyntax, "expected a gzip header, found %s", quote(data[:min(len(data), 4)]))
	}
	defer d.spare.Put(reader)
	var plain bytes.Buffer
	n, err := io.Copy(&plain, io.LimitReader(reader, int64(d.limits.MaxBytes)+1))
	switch {
	case n > int64(d.limits.MaxBytes):
		return nil, fault("gzip", -1, ErrTooLarge, "%d bytes unpack to more than %d", len(data), d.limits.MaxBytes)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fault("gzip", len(data), ErrSyntax, "the payload ends in the middle")
	case err != nil:
		return nil, fault("gzip", len(data)-source.Len(), ErrSyntax, "damaged: %v", err)
	}
	return plain.Bytes(), nil
}

// textDecoder undoes a text encoding of binary data before the inner format sees it.
type textDecoder struct {
	inner  Decoder
	limits Limits
	name   string
	decode func([]byte) ([]byte, error)
}

func newBase64(inner Decoder, opts Options) Decoder {
	return &textDecoder{inner: inner, limits: opts.Limits, name: "base64", decode: decodeBase64}
}

func newHex(inner Decoder, opts Options) Decoder {
	return &textDecoder{inner: inner, limits: opts.Limits, name: "hex", decode: func(text []byte) ([]byte, error) {
		return hex.AppendDecode(nil, text)
	}}
}

func (d *textDecoder) Decode(data []byte, now time.Time) (Document, error) {
	if len(data) > d.limits.MaxBytes {
		return Document{}, tooLarge(d.name, len(data), d.limits)
	}
	plain, err := d.decode(trimText(data))
	if err != nil {
		return Document{}, syntaxAt(d.name, data, 0, "%v", err)
	}
	return d.inner.Decode(plain, now)
}

// decodeBase64 takes both alphabets of RFC 4648, with or without padding.
func decodeBase64(text []byte) ([]byte, error) {
	text = bytes.TrimRight(text, "=")
	encoding := base64.RawStdEncoding
	if bytes.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	return encoding.AppendDecode(nil, text)
}
