package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// makeDir makes a folder for the gateway's user alone.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make the folder of the certificates: %w", err)
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the folder of the certificates: %w", err)
	}
	return inherit(dir)
}

// writePair writes a key and then its certificate, so that no certificate is without its key. Only with replace may the
// files be there already.
func writePair(dir, certName, keyName string, der []byte, key *ecdsa.PrivateKey, replace bool) error {
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the key: %w", err)
	}
	defer clear(keyDER)
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	defer clear(keyPEM)
	if err := writeFile(filepath.Join(dir, keyName), keyPEM, 0o600, replace); err != nil {
		return err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return writeFile(filepath.Join(dir, certName), certPEM, 0o644, replace)
}

// writeFile writes a whole file or none: a temporary one beside it, synced, given its name.
func writeFile(path string, data []byte, mode fs.FileMode, replace bool) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	_, werr := f.Write(data)
	if err := errors.Join(werr, f.Chmod(mode), f.Sync(), f.Close(), inherit(f.Name())); err != nil {
		return err
	}
	if replace {
		return os.Rename(f.Name(), path)
	}
	// Link fails where the name is taken, which Rename would not.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return os.Remove(f.Name())
}
