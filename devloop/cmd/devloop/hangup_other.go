//go:build !linux

package main

import (
	"context"
	"os"
)

// awaitHangup leaves it to SIGHUP.
func awaitHangup(context.Context, *os.File, func()) {}
