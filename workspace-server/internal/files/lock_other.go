//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package files

import "os"

// lock does nothing where the system has no such lock: of two changes at once
// to one file the later one counts, whatever it depended on.
func lock(*os.File) error { return nil }
