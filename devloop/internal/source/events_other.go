//go:build !linux

package source

import "errors"

// Events listens to what the file system tells of directories. Here it cannot.
type Events struct{}

// NewEvents fails.
func NewEvents() (*Events, error) { return nil, errors.New("not on this system") }

// Close does nothing.
func (*Events) Close() {}

// Watch does nothing.
func (*Events) Watch([]string) {}

// Look does nothing.
func (*Events) Look() {}

// Calm does nothing.
func (*Events) Calm() {}

// Silent knows of no silence.
func (*Events) Silent(string) bool { return false }
