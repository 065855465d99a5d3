package main

// What tests edit, or set with -ldflags=-X.
var (
	version   = "1"
	behaviour = ""
)
