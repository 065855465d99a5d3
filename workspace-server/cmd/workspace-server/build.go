package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"runtime"
	"sync"
)

// buildOnce returns a function that computes the build's identity at its first
// call, since hashing the program takes longer than starting it.
func buildOnce() func() string { return sync.OnceValue(build) }

// build returns the release's version, or the first digits of the running
// program's hash.
func build() string {
	if version != "" {
		return version
	}
	file, err := openSelf()
	if err != nil {
		return "unknown"
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "unknown"
	}
	return hex.EncodeToString(hash.Sum(nil))[:12]
}

// openSelf opens the running program. The file at its path may be a newer build;
// Linux has a way to the one that runs.
func openSelf() (*os.File, error) {
	if runtime.GOOS == "linux" {
		return os.Open("/proc/self/exe")
	}
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}
