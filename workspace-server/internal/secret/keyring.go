package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
)

// A Key seals values with AES-256 in Galois/Counter Mode.
type Key [32]byte

// NewKey returns 256 random bits.
func NewKey() Key {
	var k Key
	_, _ = rand.Read(k[:]) // never fails (crypto/rand)
	return k
}

// ID names a key and reveals nothing else about it.
func (k Key) ID() string {
	sum := sha256.Sum256(append([]byte("the id of a key\n"), k[:]...))
	return hex.EncodeToString(sum[:8])
}

// A Keyring is the known keys. The first key seals, and each may open.
type Keyring []Key

// Sealed is a value that only its key opens, and only at its place.
type Sealed struct {
	Key string // the key's id
	Box []byte // a nonce, then the encrypted value
}

// ParseKeyring reads what Text returned.
func ParseKeyring(text []byte) (Keyring, error) {
	var r Keyring
	for line := range bytes.Lines(text) {
		raw, err := base64.StdEncoding.Strict().DecodeString(string(bytes.TrimSpace(line)))
		if err != nil || len(raw) != len(Key{}) {
			return nil, fmt.Errorf("line %d is not a key", len(r)+1) // the error must not show the line
		}
		r = append(r, Key(raw))
	}
	if len(r) == 0 {
		return nil, fmt.Errorf("the file has no key")
	}
	return r, nil
}

// Text returns the text of a key file: one key on each line.
func (r Keyring) Text() []byte {
	var text []byte
	for _, k := range r {
		text = base64.StdEncoding.AppendEncode(text, k[:])
		text = append(text, '\n')
	}
	return text
}

// Seal encrypts a value with the first key, for one place.
func (r Keyring) Seal(p Place, value string) Sealed {
	gcm := r[0].gcm()
	return Sealed{Key: r[0].ID(), Box: gcm.Seal(nil, nil, []byte(value), p.bytes())}
}

// Open decrypts a value. It fails when the keyring lacks the key, when the value
// was sealed for another place, and when it was changed.
func (r Keyring) Open(p Place, s Sealed) (string, error) {
	i := slices.IndexFunc(r, func(k Key) bool { return k.ID() == s.Key })
	if i < 0 {
		return "", fmt.Errorf("%s was sealed with key %s, which the key file does not have", p.Name, s.Key)
	}
	value, err := r[i].gcm().Open(nil, nil, s.Box, p.bytes())
	if err != nil {
		return "", fmt.Errorf("open %s: %w", p.Name, err)
	}
	return string(value), nil
}

// opens reports whether the keyring opens what was sealed for a place.
func (r Keyring) opens(p Place, s Sealed) bool {
	_, err := r.Open(p, s)
	return err == nil
}

// gcm returns a cipher that puts a random nonce of 96 bits before each encrypted
// value (crypto/cipher.NewGCMWithRandomNonce).
func (k Key) gcm() cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // the key has the right size
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // the block has the right size
	}
	return gcm
}

// bytes returns the place as the additional data of a box. Neither part can hold
// a zero byte.
func (p Place) bytes() []byte { return []byte(p.Workspace + "\x00" + p.Name) }
