package exportdata

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// objectMagic begins an object file, and the fingerprint follows
// (cmd/internal/goobj, objfile.go).
const objectMagic = "\x00go120ld"

// Stamp sums a compiled package and writes the sum as its fingerprint: at the end
// of the export data, from where the compiler passes it on to the object of each
// package that imports it, and into the package's own object. The linker compares
// the two (cmd/link/internal/ld, lib.go, checkFingerprint). So it refuses a
// program of which a package was compiled against another sum than the one that
// is linked, whatever went wrong before.
//
// The files are those of "compile -o export -linkobj object".
func Stamp(export, object string) (Sum, error) {
	archive, err := os.ReadFile(export)
	if err != nil {
		return Sum{}, fmt.Errorf("read the export data: %w", err)
	}
	sum, err := Of(archive)
	if err != nil {
		return Sum{}, err
	}
	return sum, Write(export, object, sum)
}

// Write writes a sum as the fingerprint, as Stamp does.
func Write(export, object string, sum Sum) error {
	archive, err := os.ReadFile(export)
	if err != nil {
		return fmt.Errorf("read the export data: %w", err)
	}
	f, err := parse(archive)
	if err != nil {
		return err
	}
	head, at, err := objectHead(object)
	if err != nil {
		return err
	}
	// Both were written in one go, or one of them is read wrongly here.
	if !bytes.Equal(head[at:at+fingerprintSize], f.print[:]) {
		return errors.New("the object has another fingerprint than the export data")
	}
	fingerprint := sum[:fingerprintSize]
	if bytes.Equal(fingerprint, make([]byte, fingerprintSize)) {
		fingerprint = []byte("no zeros") // which the linker does not compare
	}
	if err := overwrite(export, f.at, fingerprint); err != nil {
		return err
	}
	return overwrite(object, at, fingerprint)
}

// objectHead returns the beginning of an object, and where in it the fingerprint is.
func objectHead(object string) ([]byte, int, error) {
	const enough = 64 << 10 // the object's header, and what cgo adds to it
	file, err := os.Open(object)
	if err != nil {
		return nil, 0, fmt.Errorf("read the object: %w", err)
	}
	defer file.Close()
	head := make([]byte, enough)
	n, err := file.ReadAt(head, 0)
	if n == 0 {
		return nil, 0, fmt.Errorf("read the object: %w", err)
	}
	head = head[:n]
	i := bytes.Index(head, []byte("\n!\n"+objectMagic))
	if i < 0 || len(head) < i+3+len(objectMagic)+fingerprintSize {
		return nil, 0, errors.New("the object does not begin as those that are known")
	}
	return head, i + 3 + len(objectMagic), nil
}

func overwrite(path string, at int, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("stamp: %w", err)
	}
	_, err = file.WriteAt(text, int64(at))
	return errors.Join(err, file.Close())
}
