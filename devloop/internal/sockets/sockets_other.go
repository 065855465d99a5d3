//go:build !linux

package sockets

// Look finds nothing here.
func Look(int) (View, error) { return View{}, ErrHidden }

// Listens finds nothing here.
func Listens(uint16) (bool, error) { return false, ErrHidden }
